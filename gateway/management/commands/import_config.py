"""`manage.py import_config`: JSON files into the database, all or nothing."""

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from gateway.configfile import CLIENTS, FILES, PROVIDERS, ImportRefused, import_files


class Command(BaseCommand):
    help = (
        "Imports providers.json and client-registry.json. A file is the whole truth for its kind; with --merge "
        "it only adds and changes. Any problem stops the import with nothing changed and exit code 2."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--providers", type=Path, help="file to import providers from")
        parser.add_argument("--clients", type=Path, help="file to import clients from")
        parser.add_argument("--merge", action="store_true", help="only add and change, never remove")
        parser.add_argument("--dry-run", action="store_true", help="check and report, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        paths = {PROVIDERS: options["providers"], CLIENTS: options["clients"]}
        chosen = {name: path for name, path in paths.items() if path is not None}
        if not chosen:
            chosen = {name: settings.CONFIG_DIR / name for name in FILES}
        try:
            outcome = import_files(
                chosen, merge=options["merge"], dry_run=options["dry_run"], author="import_config"
            )
        except ImportRefused as refused:
            for problem in refused.problems:
                self.stderr.write(str(problem))
            self.stderr.write(f"{len(refused.problems)} problem(s); nothing was changed.")
            sys.exit(2)
        for warning in outcome.warnings + outcome.consequences:
            self.stderr.write(f"warning: {warning}")
        would = "would be " if options["dry_run"] else ""
        for name in outcome.changed:
            self.stdout.write(f"{name}: {would}imported from {chosen[name]}")
        for name in outcome.unchanged:
            self.stdout.write(f"{name}: nothing to change")
