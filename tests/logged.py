"""A log of its own whose standard output is a file, and what was written there."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from telemetry.logs import JsonLog

CONTROL = re.compile(rb"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")
"""What acts on a terminal or ends a line somewhere, as raw bytes; the end of a line itself is left out."""


@contextmanager
def logging_to(stdout: Path, log: JsonLog | None = None, **options: Any) -> Iterator[JsonLog]:
    """Everything is written once this is left."""
    log = log or JsonLog()
    with stdout.open("w") as out:
        with redirect_stdout(out):
            log.start(**options)
        try:
            yield log
        finally:
            log.stop()


def lines(*paths: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in paths for line in path.read_bytes().split(b"\n")[:-1]]


def one_line(tmp_path: Path, message: str = "said", **parts: Any) -> dict[str, Any]:
    with logging_to(tmp_path / "out") as log:
        log.info(message, **parts)
    (line,) = lines(tmp_path / "out")
    return line
