"""`manage.py rotate_token`: a new token for the client of an old one, which ends after an overlap."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from clients.expiry import parse_lifetime, parse_period
from clients.loader import NotActive, Rotated, lifetime, rotate
from gateway.attribution import attributed
from gateway.configfile import peppers


class Command(BaseCommand):
    help = "Issues a token that follows another; the old one ends after the overlap. Prints the new token on stdout, this once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("token_id", help="the old token's id")
        parser.add_argument("--overlap", default="24h", help="how long both work, for example 24h, 7d, 0s")
        parser.add_argument(
            "--expires", help="for example 90d; default is as long as the old one was issued for"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        token_id = options["token_id"]
        overlap = _period("--overlap", options["overlap"], parse_period)
        chosen = _period("--expires", options["expires"], parse_lifetime) if options["expires"] else None
        try:
            with transaction.atomic(), attributed("rotate_token", f"token {token_id} rotated"):
                done = _rotate(token_id, overlap, chosen)
        except NotActive:
            raise CommandError(
                f"There is no active token with the id {token_id}; issue_token makes a new one"
            ) from None
        ends = f"{done.old_ends_at:%Y-%m-%d %H:%M} UTC"
        self.stderr.write(f"Token {token_id} ends at {ends}. It is followed by {done.minted.token_id},")
        self.stderr.write("which is shown only now:")
        self.stdout.write(done.minted.text)


def _rotate(token_id: str, overlap: timedelta, chosen: timedelta | None) -> Rotated:
    valid_for = lifetime(token_id) if chosen is None else chosen
    expires_at = None if valid_for is None else timezone.now() + valid_for
    return rotate(token_id, peppers()[0], overlap=overlap, expires_at=expires_at)


def _period(option: str, text: str, parse: Callable[[str], timedelta]) -> timedelta:
    try:
        return parse(text)
    except ValueError as error:
        raise CommandError(f"{option} {error}") from None
