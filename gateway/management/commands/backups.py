"""`manage.py backups`: the backups of the configuration files, and the removal of all but the two newest."""

import time
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway import changelog
from gateway.attribution import attributed
from gateway.backups import KEEP, backups_of
from gateway.configfile import FILES

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


class Command(BaseCommand):
    help = (
        "Lists the backups of providers.json and client-registry.json, newest first. With --prune all but the "
        f"{KEEP} newest of each are removed, and each one removed is written to the change log. NAME.bkup is yours "
        "and never touched."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--prune", action="store_true", help=f"remove all but the {KEEP} newest per file")
        parser.add_argument(
            "--dry-run", action="store_true", help="say what --prune would remove, remove nothing"
        )
        parser.add_argument("--author", help="who removes them; default is the operating-system user")
        parser.add_argument("--reason", default="", help="why, for the change log")

    def handle(self, *args: Any, **options: Any) -> None:
        paths = [settings.CONFIG_DIR / name for name in FILES]
        author = options["author"] or changelog.operating_system_user()
        told = []
        try:
            for path in paths:
                if options["dry_run"]:
                    told.append(self._tell("would remove", changelog.superfluous(path)))
                elif options["prune"]:
                    with attributed(author, options["reason"]):
                        told.append(self._tell("removed", changelog.prune(path)))
                else:
                    self._list(path)
        except OSError as error:
            raise CommandError(
                f"{error.filename or settings.CONFIG_DIR}: {error.strerror}. The folder of the configuration "
                "files is LLM_CALLER_CONFIG_DIR; it must exist and be open to this user.",
                returncode=2,
            ) from None
        if told and not any(told):
            self.stdout.write(f"nothing to remove: no file has more than {KEEP} backups")

    def _tell(self, done: str, removed: list[Path]) -> bool:
        for old in removed:
            self.stdout.write(f"{done} {old.name}")
        return bool(removed)

    def _list(self, path: Path) -> None:
        found = backups_of(path)
        self.stdout.write(f"{path}: {len(found) or 'no'} backup{'' if len(found) == 1 else 's'}")
        for kept in found:
            status = kept.stat()
            made = int(kept.name.split(".")[-2]) / 1000
            self.stdout.write(f"  {kept.name}  {age(time.time() - made)} old, {status.st_size:,} bytes")
        own = path.with_name(f"{path.name}.bkup")
        if own.exists():
            self.stdout.write(f"  {own.name}  your own, {own.stat().st_size:,} bytes; never touched")


def age(seconds: float) -> str:
    """The two largest units: `3 d 4 h`, `12 s`."""
    left, parts = max(round(seconds), 0), []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"
