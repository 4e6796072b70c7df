"""Verifies the whole record once a day, in a process of its own: the journal's writer goes on storing meanwhile."""

import os
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

from telemetry.audit.verification import due_since

BY_SCHEDULE = "schedule"
MANAGE = Path(__file__).resolve().parent.parent / "manage.py"


class Schedule:
    """One for the installation, beside the one writer. `every_h`: 0 never."""

    def __init__(self, every_h: int) -> None:
        self._every = timedelta(hours=every_h)
        self._process: subprocess.Popen[bytes] | None = None

    def look(self, now: datetime) -> None:
        """Begins a verification where the last one, or without one the first signature, is old enough, or nothing
        tells how old it is."""
        if not self._every or (self._process is not None and self._process.poll() is None):
            return
        since = due_since()
        # One in the future, of a wrong clock or of somebody who would rather have none, counts for nothing.
        if since is None or timedelta(0) <= now - since < self._every:
            return
        # What it finds it keeps in the database; what keeps it from looking, it says on standard error.
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
            [sys.executable, str(MANAGE), "audit_verify", "--scheduled"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=os.environ,
        )

    def stop(self) -> None:
        """Until its end it only reads; it is begun again after the next start."""
        if self._process is not None and self._process.poll() is None:
            # It has inherited that the writer does not hear SIGTERM.
            self._process.kill()
            self._process.wait()
