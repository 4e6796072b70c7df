"""`manage.py write_journal`: the writer beside the server, from the journal into the record."""

import select
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from clients.loader import note_use
from gateway.places import audit_folder, journal_folder
from gateway.verifying import Schedule
from telemetry import beside
from telemetry.audit.keys import KeyFileError
from telemetry.writer import Writer, WriterLock, run


class Command(BaseCommand):
    help = "Moves the journal into the database. The server starts this by itself."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--until-eof", action="store_true", help="go on until standard input closes")

    def handle(self, *args: Any, **options: Any) -> None:
        beside_server = options["until_eof"]
        folder = journal_folder()
        lock = WriterLock(folder)
        schedule = Schedule(settings.ENVIRONMENT["LLM_CALLER_AUDIT_VERIFY_HOURS"] if beside_server else 0)
        try:
            writer = Writer(folder, note_use, audit_folder().chain(), hourly(schedule))
        except KeyFileError as error:
            raise CommandError(str(error), returncode=2) from None
        if beside_server:
            # The server's end of the pipe tells when to stop, so that nothing is left unwritten.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            run(writer, lock, _closed if beside_server else lambda _: True)
        finally:
            schedule.stop()


def hourly(schedule: Schedule) -> Callable[[datetime], None]:
    days = settings.ENVIRONMENT["LLM_CALLER_FAILED_AUTH_DAYS"]

    def done(now: datetime) -> None:
        schedule.look(
            now
        )  # first: a cell that keeps the other from its work must not keep anybody from verifying
        beside.prune(now, failed_authentication_days=days)

    return done


def _closed(seconds: float) -> bool:
    """Waits up to `seconds` and tells whether standard input has been closed."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    if not ready:
        return False
    return not sys.stdin.buffer.raw.read(4096)
