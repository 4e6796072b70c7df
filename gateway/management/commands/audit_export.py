"""`manage.py audit_export`: the record, or part of it, as a file."""

import os
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.exports import FORMATS, stream
from gateway.moments import moment
from telemetry.audit.selection import Selection

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
        chunks = stream(selection, wanted)
        if str(path) == "-":
            for chunk in chunks:
                sys.stdout.buffer.write(chunk)
            sys.stdout.buffer.flush()
            return
        try:
            with open(
                os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb"
            ) as file:
                for chunk in chunks:
                    file.write(chunk)
        except FileExistsError:
            raise CommandError(f"{path} exists; it is not replaced", returncode=2) from None
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}", returncode=2) from None
        self.stdout.write(f"wrote {selection.about} to {path}")
