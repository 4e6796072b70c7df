"""`manage.py audit_export`: the record, or part of it, as a file."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, BinaryIO, NoReturn
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.changelog import operating_system_user
from gateway.exports import FORMATS, NO_SUCH_CALL, Export, stream
from gateway.moments import moment
from telemetry.audit.exports import lacks_its_call
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import counted, shown
from telemetry.known_clients import doubt_about

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
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
        selection = _selection(options)

        def export() -> Export:
            if lacks_its_call(selection):
                raise CommandError(NO_SUCH_CALL, returncode=2)
            if doubt := doubt_about(selection.tool_id):
                self.stderr.write(self.style.WARNING(shown(doubt)))
            return stream(selection, wanted, by=operating_system_user(), where="with the command")

        if str(path) == "-":
            rows = _told(lambda: _write(sys.stdout.buffer, export()), "standard output")
            self.stderr.write(_summary(selection, rows, "standard output"))
            return
        if os.path.lexists(path):
            raise CommandError(f"{path} exists; it is not replaced", returncode=2)
        rows = _told(lambda: _write_whole(path, export()), str(path))
        self.stdout.write(_summary(selection, rows, str(path)))


def _selection(options: dict[str, Any]) -> Selection:
    since, until = options["since"], options["until"]
    if since and until and since >= until:
        raise CommandError("--since has to be before --until", returncode=2)
    return Selection(since=since, until=until, tool_id=options["client"], call_id=str(options["call"] or ""))


def _summary(selection: Selection, rows: int, where: str) -> str:
    return f"wrote {shown(selection.about)} to {where}: {counted(rows, 'row')}"


class BrokenOff(BaseException):
    """By the signal that it names."""


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """A signal that would end the process at once breaks off what is done here, so that it can clear away after itself.
    One that is ignored, as under nohup, stays so."""
    before = {each: signal.getsignal(each) for each in ENDING}
    heard = [each for each in ENDING if before[each] != signal.SIG_IGN]

    def end(number: int, frame: FrameType | None) -> NoReturn:
        for each in heard:
            signal.signal(each, signal.SIG_IGN)
        raise BrokenOff(signal.Signals(number).name)

    for each in heard:
        signal.signal(each, end)
    try:
        yield
    finally:
        for each in heard:
            signal.signal(each, before[each])


def _told(write: Callable[[], int], where: str) -> int:
    """How many rows were written. Raises `CommandError`, a sentence, for whatever goes wrong."""
    try:
        with _ended_by_signals():
            return write()
    except CommandError:
        raise
    except BrokenOff as by:
        raise CommandError(f"the export was broken off by {by}", returncode=2) from None
    except FileExistsError:
        raise CommandError(f"{where} exists; it is not replaced", returncode=2) from None
    except OSError as error:
        raise CommandError(f"{where} cannot be written: {error.strerror}", returncode=2) from None
    except Exception as error:
        # A database that is away, or a cell that no row of ours could have.
        words = shown(f"the record cannot be exported: {type(error).__name__}: {error}")
        raise CommandError(words, returncode=2) from None


def _write(file: BinaryIO, export: Export) -> int:
    for chunk in export:
        file.write(chunk)
    file.flush()
    return export.rows


def _write_whole(path: Path, export: Export) -> int:
    """It gets its name when all of it is there; nothing is left of one that was broken off."""
    opened, name = tempfile.mkstemp(dir=path.parent, prefix=".audit-export-", suffix=".part")
    try:
        with open(opened, "wb") as file:
            rows = _write(file, export)
            os.fsync(file.fileno())
        _name(Path(name), path)
        return rows
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
