"""`manage.py audit_verify`: whether the record is what was signed."""

import os
from argparse import ArgumentTypeError
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError

from gateway import changelog
from gateway.moments import moment
from gateway.places import audit_folder
from gateway.verifying import BY_SCHEDULE
from telemetry.audit import side_by_side, verdict
from telemetry.audit.copies import Copies
from telemetry.audit.keys import KeyFileError, read_public, signatures
from telemetry.audit.verification import Verified, keep, verify
from telemetry.audit.verifier import MOST_FINDINGS, Finding, key_id, shown, told_of
from telemetry.unreadable import UNREADABLE, is_lasting

NICENESS = 10
MOST_PROCESSES = 64
NAMELESS = "the file that names the chain of this writer is missing, so that nothing says how far its copies have to reach"


class Command(BaseCommand):
    help = (
        "Verifies the record of calls: every row against the hash chain, the chain against the signed checkpoints, and "
        "these against their copies outside the database. Names each row that was changed, removed, added or put "
        "elsewhere. Exit code 0: nothing found, 1: something found, 2: it cannot be verified, or what was found not printed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--since", type=moment, help="calls from then on: 2026-11-01, or 2026-11-01T08:00, UTC"
        )
        parser.add_argument("--until", type=moment, help="calls before then")
        parser.add_argument(
            "--checkpoints", type=Path, help="the copies to compare with; default is the gateway's own"
        )
        parser.add_argument(
            "--public-key",
            type=Path,
            action="append",
            help="a key to believe; default are those in the state folder",
        )
        parser.add_argument(
            "--all",
            action="store_true",
            help=f"tell every finding, not only the first {MOST_FINDINGS} of a kind in a chain",
        )
        parser.add_argument(
            "--scheduled",
            action="store_true",
            help="as the server begins it: gives way to other processes, and its history names the schedule",
        )
        parser.add_argument(
            "--processes",
            type=_processes,
            metavar="N",
            default=side_by_side.processors(),
            help="that read and hash rows side by side where they are many; default here is %(default)s, and 1 with --scheduled",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["scheduled"]:
            os.nice(NICENESS)
        if options["since"] and options["until"] and options["since"] >= options["until"]:
            raise CommandError("--since has to be before --until", returncode=2)
        place = audit_folder()
        whole = not any(options[name] for name in ("since", "until", "checkpoints", "public_key"))
        copies = Copies(options["checkpoints"]) if options["checkpoints"] else place.copies
        if options["checkpoints"] and not options["checkpoints"].exists():
            raise CommandError(f"{options['checkpoints']} does not exist", returncode=2)
        try:
            named = options["public_key"]
            keys = [read_public(path) for path in named] if named else place.public_keys()
            began = datetime.now(UTC)
            own = None if options["checkpoints"] else place.chain_name()
            verified = verify(
                signatures(keys),
                copies,
                own=own,
                since=options["since"],
                until=options["until"],
                most=None if options["all"] else MOST_FINDINGS,
                processes=1 if options["scheduled"] else options["processes"],
            )
        except (KeyFileError, OSError, *UNREADABLE) as error:
            if whole and is_lasting(error):
                with suppress(OSError):
                    verdict.tell_unverified(place.folder, _why(error))
            raise CommandError(f"The record cannot be verified: {error}", returncode=2) from None
        if not options["checkpoints"] and place.lacks_its_name():
            verified.add([Finding("copy", "", 0, NAMELESS)])
        ended = datetime.now(UTC)
        if whole:
            # First: whatever keeps the rest from being told, the server's health and its metrics know.
            with suppress(OSError):  # on a full disk the database still says it
                verdict.tell(
                    place.folder,
                    verdict.Verdict(at=ended.timestamp(), rows=verified.rows, found=verified.found),
                )
        by = BY_SCHEDULE if options["scheduled"] else changelog.operating_system_user()
        try:
            keep(verified, by=by, scope=_scope(options, keys), whole=whole, started_at=began)
        except (DatabaseError, ValueError) as error:
            self.stderr.write(f"That it was verified cannot be kept in the database: {shown(error)}")
        try:
            self._tell(verified, (ended - began).total_seconds(), copies, keys)
            self.stdout.flush()
        except OSError as error:
            # Python would say it once more when it ends, with an exit code of its own.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            words = f"What was found ({verified.found}) cannot be printed: {error.strerror}"
            raise CommandError(words, returncode=2) from None
        if verified.found:
            raise SystemExit(1)

    def _tell(self, verified: Verified, seconds: float, copies: Copies, keys: list[bytes]) -> None:
        for finding in verified.findings:
            self.stdout.write(str(finding))
        if verified.found > len(verified.findings):
            self.stdout.write(
                f"and {verified.found - len(verified.findings)} more of these kinds; --all tells them too"
            )
        seconds = max(seconds, 0.001)
        told = f"{verified.rows} rows verified in {seconds:.1f} s ({verified.rows / seconds:,.0f} a second): "
        self.stdout.write(told + (f"{verified.found} found" if verified.found else "nothing found"))
        for line in told_of(verified.removals):
            self.stdout.write(line)
        self.stdout.write(f"Compared with {verified.copies} copies of checkpoints in {copies.path}")
        if not keys:
            self.stdout.write("No public key is known here yet: nothing was ever signed.")


def _processes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_PROCESSES:
        raise ArgumentTypeError(f"has to be a number from 1 to {MOST_PROCESSES}")
    return int(text)


def _why(error: Exception) -> str:
    """For `/health`: a database's own words may quote what is in a cell."""
    if isinstance(error, KeyFileError | OSError):
        return shown(error)
    return f"something in the database cannot be read ({type(error).__name__})"


def _scope(options: dict[str, Any], keys: list[bytes]) -> str:
    """In words: which rows; and against which keys and copies, where these are not the gateway's own."""
    ends = [f"{at:%Y-%m-%d %H:%M:%S} UTC" if at else "" for at in (options["since"], options["until"])]
    told = [f"{ends[0] or 'the first'} to {ends[1] or 'the last'}"]
    if options["public_key"]:
        words = "the keys {} that were named" if len(keys) > 1 else "the key {} that was named"
        told.append("with " + words.format(", ".join(map(key_id, keys))))
    if options["checkpoints"]:
        told.append(f"against the copies in {options['checkpoints'].name}")
    return ", ".join(told)
