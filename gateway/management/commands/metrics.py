"""`manage.py metrics`: what the running server counted, as it last wrote it."""

import time
from typing import Any

import msgspec
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from telemetry.metrics import SNAPSHOT_FILE


class Command(BaseCommand):
    help = "Prints the running server's metrics as JSON (it writes them every second)."

    def handle(self, *args: Any, **options: Any) -> None:
        path = settings.STATE_DIR / SNAPSHOT_FILE
        try:
            data = path.read_bytes()
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            raise CommandError("No server has written metrics here yet") from None
        if age > 10:
            self.stderr.write(f"The server does not seem to run: this is {age:.0f} s old")
        self.stdout.write(msgspec.json.format(data, indent=2).decode())
