"""`manage.py audit_restored`: an operator says that the database was restored from an older copy."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import changelog
from gateway.places import audit_folder
from telemetry.audit.copies import Copies
from telemetry.audit.keys import KeyFileError, signatures
from telemetry.audit.restored import NotOnlyLost, declare_restored
from telemetry.unreadable import UnreadableCell, cells


class Command(BaseCommand):
    help = (
        "Signs which calls are lost because the database was restored from an older copy, so that audit_verify tells of "
        "them as that instead of as a finding. The note, with its reason and your name, stands in the record for good."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--reason", required=True, help="why, and from which copy, for those who read the record"
        )

        parser.add_argument(
            "--checkpoints",
            type=Path,
            help="copies that know more than the gateway's own, such as an auditor's, after a restore on another machine",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        reason, place = options["reason"].strip(), audit_folder()
        if not reason:
            raise CommandError("Say why: the reason is signed", returncode=2)
        named: Path | None = options["checkpoints"]
        if named is not None and not named.exists():
            raise CommandError(f"{named} does not exist", returncode=2)
        try:
            with cells():
                lost = declare_restored(
                    place.signer(),
                    signatures(place.public_keys()),
                    Copies(named) if named is not None else place.copies,
                    reason=reason,
                    by=changelog.operating_system_user(),
                    now=datetime.now(UTC),
                )
        except (KeyFileError, OSError, NotOnlyLost) as error:
            raise CommandError(str(error), returncode=2) from None
        except UnreadableCell as fault:
            raise CommandError(f"Nothing was signed: {fault}", returncode=2) from None
        for one in lost:
            self.stdout.write(
                f"Chain {one.chain}: rows {one.first} to {one.last} are signed to be lost "
                f"(checkpoints {one.signed_from} to {one.signed_to})"
            )
        if not lost:
            self.stdout.write("Nothing is lost: the database has all that the copies of the checkpoints know")
