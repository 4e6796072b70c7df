"""`manage.py write_journal`: the writer beside the server, from the journal into the record."""

import select
import signal
import sys
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from clients.loader import note_use
from gateway.places import audit_folder, journal_folder
from telemetry import beside
from telemetry.audit.keys import KeyFileError
from telemetry.writer import Writer, WriterLock, run


class Command(BaseCommand):
    help = "Moves the journal into the database. The server starts this by itself."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--until-eof", action="store_true", help="go on until standard input closes")

    def handle(self, *args: Any, **options: Any) -> None:
        folder = journal_folder()
        lock = WriterLock(folder)
        try:
            writer = Writer(folder, note_use, audit_folder().chain(), prune_besides)
        except KeyFileError as error:
            raise CommandError(str(error), returncode=2) from None
        if not options["until_eof"]:
            run(writer, lock, lambda _: True)
            return
        # The server's end of the pipe tells when to stop, so that nothing is left unwritten.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        run(writer, lock, _closed)


def prune_besides(now: datetime) -> None:
    days = settings.ENVIRONMENT["LLM_CALLER_FAILED_AUTH_DAYS"]
    beside.prune(now, failed_authentication_days=days)


def _closed(seconds: float) -> bool:
    """Waits up to `seconds` and tells whether standard input has been closed."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    if not ready:
        return False
    return not sys.stdin.buffer.raw.read(4096)
