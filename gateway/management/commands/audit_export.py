"""`manage.py audit_export`: the record, or part of it, as a file."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.changelog import operating_system_user
from gateway.exports import FORMATS, stream
from gateway.moments import moment
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import shown

BY_ENDING = {f".{each.ending}": name for name, each in FORMATS.items()}


class Command(BaseCommand):
    help = (
        "Exports the record of calls, all of it or a period, a client or one call: as JSON Lines, as CSV whose cells are "
        "no formulas, or as an evidence pack that anybody can verify with Python alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "file", type=Path, help="where to; - is standard output. An existing file is not replaced"
        )
        parser.add_argument(
            "--format", choices=FORMATS, help="default: by the file's ending (.jsonl, .csv, .zip)"
        )
        parser.add_argument(
            "--since", type=moment, help="calls from then on: 2026-11-01, or 2026-11-01T08:00, UTC"
        )
        parser.add_argument("--until", type=moment, help="calls before then")
        parser.add_argument("--client", default="", help="calls of this client (its toolId)")
        parser.add_argument("--call", type=UUID, help="one call, by its id")

    def handle(self, *args: Any, **options: Any) -> None:
        path: Path = options["file"]
        wanted = options["format"] or BY_ENDING.get(path.suffix)
        if wanted is None:
            raise CommandError("name a --format, or a file that ends in .jsonl, .csv or .zip", returncode=2)
        selection = Selection(
            since=options["since"],
            until=options["until"],
            tool_id=options["client"],
            call_id=str(options["call"] or ""),
        )

        def chunks() -> Iterator[bytes]:
            return stream(selection, wanted, by=operating_system_user(), where="with the command")

        if str(path) == "-":
            _told(lambda: _write(sys.stdout.buffer, chunks()), "standard output")
            return
        if os.path.lexists(path):
            raise CommandError(f"{path} exists; it is not replaced", returncode=2)
        _told(lambda: _write_whole(path, chunks()), str(path))
        self.stdout.write(f"wrote {selection.about} to {path}")


def _told(write: Callable[[], None], where: str) -> None:
    """Raises `CommandError`, a sentence, for whatever goes wrong."""
    try:
        write()
    except FileExistsError:
        raise CommandError(f"{where} exists; it is not replaced", returncode=2) from None
    except OSError as error:
        raise CommandError(f"{where} cannot be written: {error.strerror}", returncode=2) from None
    except Exception as error:
        # A database that is away, or a cell that no row of ours could have.
        words = shown(f"the record cannot be exported: {type(error).__name__}: {error}")
        raise CommandError(words, returncode=2) from None


def _write(file: BinaryIO, chunks: Iterator[bytes]) -> None:
    for chunk in chunks:
        file.write(chunk)
    file.flush()


def _write_whole(path: Path, chunks: Iterator[bytes]) -> None:
    """It gets its name when all of it is there; nothing is left of one that was broken off."""
    opened, name = tempfile.mkstemp(dir=path.parent, prefix=".audit-export-", suffix=".part")
    try:
        with open(opened, "wb") as file:
            _write(file, chunks)
            os.fsync(file.fileno())
        _name(Path(name), path)
    finally:
        Path(name).unlink(missing_ok=True)


def _name(written: Path, path: Path) -> None:
    """Raises `FileExistsError`, also where the file has come meanwhile."""
    try:
        os.link(written, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links, as on a memory stick
        if os.path.lexists(path):
            raise FileExistsError from None
        written.rename(path)
