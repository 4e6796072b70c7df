"""Pages' files where the server gives them out, with digests in their names, and compressed.

Most starts find them as the last one left them: to make them all again is half a second of each.
"""

import hashlib
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
from django.apps import apps
from django.conf import settings
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command

from telemetry.replaced_file import replace_file

COLLECTED = "static.collected"
"""In the state folder: of what the files were made, and what was made, as a digest."""


def collect(stdout: Any) -> None:
    """Raises `OSError`."""
    made, told = Path(settings.STATIC_ROOT), Path(settings.STATE_DIR) / COLLECTED
    if _read(told) == _digest(made):
        return
    told.unlink(missing_ok=True)
    call_command("collectstatic", interactive=False, verbosity=0, stdout=stdout)
    replace_file(told, _digest(made))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _digest(made: Path) -> bytes:
    """Names, sizes and times of change, of all that is given out and of all that it is made of."""
    passed_over = apps.get_app_config("staticfiles").ignore_patterns
    sources = (storage.path(name) for finder in get_finders() for name, storage in finder.list(passed_over))
    results = (os.path.join(folder, name) for folder, _, names in os.walk(made) for name in names)
    told = (
        [version(name) for name in ("django", "whitenoise")],
        settings.STORAGES,
        [(path, *_state(path)) for path in sorted(sources)],
        [(os.path.relpath(path, made), *_state(path)) for path in sorted(results)],
    )
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest().encode()


def _state(path: str) -> tuple[int, int]:
    found = os.stat(path)
    return found.st_size, found.st_mtime_ns
