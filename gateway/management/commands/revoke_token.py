"""`manage.py revoke_token`: a token stops working everywhere within a second."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from clients.loader import revoke
from gateway.attribution import attributed


class Command(BaseCommand):
    help = "Revokes a token by its id (shown in the admin, in the record and when it was issued)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("token_id")

    def handle(self, *args: Any, **options: Any) -> None:
        with attributed("revoke_token", f"token {options['token_id']} revoked"):
            if not revoke(options["token_id"]):
                raise CommandError(f"There is no token with the id {options['token_id']}")
        self.stdout.write(f"Token {options['token_id']} is revoked.")
