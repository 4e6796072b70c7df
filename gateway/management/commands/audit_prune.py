"""`manage.py audit_prune`: removes calls that the retention rules say are old enough."""

from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import changelog
from gateway.places import audit_folder
from telemetry.audit.keys import KeyFileError
from telemetry.audit.pruning import NotAsSigned, due_by_rule, prune
from telemetry.unreadable import UnreadableCell, cells


class Command(BaseCommand):
    help = (
        "Removes calls from the record that are older than their retention rule says, and leaves signed tombstones in "
        "their place, so that the rest still verifies. Calls under a legal hold stay. The server does the same by "
        "itself; without rules nothing is ever removed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--dry-run", action="store_true", help="say how many would be removed, remove nothing"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        now = datetime.now(UTC)
        if options["dry_run"]:
            for rule, due in due_by_rule(now):
                self.stdout.write(f"{rule}: {due.count()} calls would be removed")
            return
        place = audit_folder()
        try:
            signer = place.signer()
        except KeyFileError as error:
            raise CommandError(str(error), returncode=2) from None
        try:
            with cells():
                removed = prune(signer, now, by=changelog.operating_system_user())
        except NotAsSigned as fault:
            self.stdout.write(f"{fault.removed} calls removed")
            raise CommandError(f"{fault}; manage.py audit_verify says more") from None
        except UnreadableCell as fault:
            raise CommandError(
                f"Not all that is due was removed: {fault}; manage.py audit_verify says more"
            ) from None
        self.stdout.write(f"{removed} calls removed")
