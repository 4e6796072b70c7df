"""`manage.py revoke_token`: a token stops working everywhere within a second."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from clients.loader import revoke
from gateway.attribution import attributed


class Command(BaseCommand):
    help = "Revokes a token by its id (shown in the admin, in the record and when it was issued)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("token_id")

    def handle(self, *args: Any, **options: Any) -> None:
        token_id = options["token_id"]
        with transaction.atomic(), attributed("revoke_token", f"token {token_id} revoked"):
            if not revoke(token_id):
                raise CommandError(f"There is no token with the id {token_id}")
        self.stdout.write(f"Token {token_id} is revoked.")
