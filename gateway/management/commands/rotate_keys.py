"""`manage.py rotate_keys`: the credentials in the database move under the newest encryption key."""

import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any, NoReturn

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from gateway import capture
from gateway.attribution import attributed
from gateway.second_factor import reseal
from providers.rotation import UnopenedError, rotate
from providers.secrets import KeyRing, SealError
from telemetry import captured_rows

HELP = """Encrypts every provider credential kept in the database, every second factor, and the kept content of calls,
again under the newest key.

To replace the encryption key:
  1. put the new key first in LLM_CALLER_ENCRYPTION_KEYS and keep the old one behind it: NEW,OLD
  2. restart the gateway, so that it opens what either key has closed
  3. manage.py rotate_keys
  4. remove the old key; at the next restart only the new one is known

Credentials and second factors move in one transaction while calls go on. When no key opens one of them, nothing is
changed, the providers are named and the exit code is 2: bring back the key, or enter those credentials anew. The
content of calls follows, a few at a time; what no key opens is counted and stays closed until its days are over.

Digests in the record stay under the key that they were made with: without it, "was this text sent?" is no longer
answered for the calls of its time. Keep an old key configured for as long as that is to be asked.
"""


class Command(BaseCommand):
    help = HELP

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        return parser

    def handle(self, *args: Any, **options: Any) -> None:
        keys = KeyRing(settings.ENCRYPTION_KEYS)
        try:
            with (
                transaction.atomic(),
                attributed("rotate_keys", "credentials encrypted under the newest key"),
            ):
                done = rotate(keys)
                factors = reseal(keys)
        except UnopenedError as error:
            self._refuse("No encryption key opens the credentials of: " + ", ".join(error.names))
        except SealError:
            self._refuse(
                "No encryption key opens a second factor; `manage.py reset_second_factor` removes a lost one"
            )
        self.stdout.write(
            f"{done.moved} credential(s) encrypted under the newest key, {done.stayed} were already."
        )
        if factors:
            self.stdout.write(f"{factors} second factor(s) encrypted under the newest key.")
        self._reseal_content(keys)

    def _reseal_content(self, keys: KeyRing) -> None:
        def again(sealed: bytes, call_id: str) -> bytes:
            return capture.reseal(sealed, call_id, keys)

        content = captured_rows.reseal(keys.newest_id, again, SealError)
        if content.moved:
            self.stdout.write(f"The content of {content.moved} call(s) encrypted under the newest key.")
        if content.unopened:
            self.stderr.write(
                f"The content of {content.unopened} call(s) opens under no key and stays closed."
            )

    def _refuse(self, why: str) -> NoReturn:
        self.stderr.write(why)
        self.stderr.write("Nothing was changed.")
        sys.exit(2)
