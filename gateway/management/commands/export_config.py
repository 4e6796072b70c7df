"""`manage.py export_config`: the database into the JSON files, with backups."""

from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser

from gateway.backups import SaveError
from gateway.configfile import FILES, export_file


class Command(BaseCommand):
    help = (
        "Writes providers.json and client-registry.json. The files replaced are kept as NAME.EPOCHMS.bak, "
        "the two newest of each."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dir", type=Path, help="folder to write to; default is the config folder")

    def handle(self, *args: Any, **options: Any) -> None:
        folder: Path = options["dir"] or settings.CONFIG_DIR
        for name in FILES:
            try:
                exported = export_file(name, folder)
            except SaveError as error:
                raise CommandError(f"{error}; nothing else was written", returncode=2) from None
            path = folder / name
            self.stdout.write(f"{path} says the same already" if exported.unchanged else f"wrote {path}")
            for old in exported.removed:
                self.stdout.write(f"removed old backup {old.name}")
