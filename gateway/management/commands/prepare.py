"""`manage.py prepare`: everything between an installed checkout and a server that can start. Safe to repeat."""

import os
import secrets
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, transaction

from clients.loader import is_known, issue
from clients.types import METHODS
from gateway import envfile, odd_settings, static_files
from gateway.attribution import attributed
from gateway.backups import SaveError, backups_of, write_new
from gateway.checks import lost_tokens, startup_problems, unsafe_settings
from gateway.configfile import (
    CLIENTS,
    FILES,
    ImportRefused,
    drift,
    export_file,
    import_files,
    is_new,
    peppers,
)
from gateway.database import OURS, why_not
from gateway.environment import SHIPPED, env_file
from gateway.places import audit_folder, log_file
from telemetry.audit.keys import KeyFileError

UAT_CLIENT = "uat"
PASSWORD_FILE = "admin-password.txt"  # noqa: S105 - a file's name


def refuse(problems: list[str]) -> None:
    if problems:
        raise CommandError("\n".join(problems), returncode=2)


def make_state_folder() -> None:
    path = Path(settings.STATE_DIR)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise CommandError(
            f"LLM_CALLER_STATE_DIR: {path} cannot be written ({error.strerror})", returncode=2
        ) from None


def open_signing_key() -> str:
    """Makes it at the first start; later too, so that calls are recorded, but then it says so: the text, or empty.
    Without a key the journal's writer would end as often as it is started."""
    folder = audit_folder()
    try:
        is_lost = folder.lacks_its_key()
        made = folder.first_signer().key_id
    except (KeyFileError, OSError) as error:
        named = "LLM_CALLER_AUDIT_KEY_PATH: " if settings.ENVIRONMENT["LLM_CALLER_AUDIT_KEY_PATH"] else ""
        raise CommandError(f"{named}{error}", returncode=2) from None
    if not is_lost:
        return ""
    return (
        f"{folder.key} was missing, though a key has signed the record: another one was made, {made}. "
        f"Unless it was moved away on purpose, bring it back before the next start"
    )


def example_of(name: str) -> Path:
    return SHIPPED / "config" / name.replace(".json", ".example.json")


class Command(BaseCommand):
    help = (
        "Migrates, collects static files, makes an admin user when there is none, imports configuration files that "
        "changed, and issues a token for the UAT client. Hints go to stderr."
    )

    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-uat-token", action="store_true", help="issue no token for the client uat")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            self._prepare(issues_token=not options["no_uat_token"])
        except DatabaseError as error:
            if isinstance(error, OURS):
                raise
            raise CommandError(why_not(error), returncode=2) from None
        except OSError as error:
            raise CommandError(
                f"{error.filename or settings.STATE_DIR} cannot be used ({error.strerror})", returncode=2
            ) from None

    def _prepare(self, *, issues_token: bool) -> None:
        refuse(unsafe_settings())
        for warning in odd_settings.warnings():
            self._hint(f"warning: {warning}")
        os.umask(0o077)  # the database file too is its owner's alone
        make_state_folder()
        log_file()
        if said := open_signing_key():
            self._hint(f"warning: {said}")
        call_command("migrate", interactive=False, verbosity=0, stdout=self.stderr)
        # Before anything is made under keys that do not fit what is stored: a lost environment file was made anew.
        refuse(startup_problems())
        static_files.collect(self.stderr)
        self._copy_examples()
        self._make_admin()
        self._import_changed()
        if issues_token:
            self._issue_uat_token()
        if said := lost_tokens():
            self._hint(f"warning: {said}")

    def _copy_examples(self) -> None:
        """Only what is missing, and only for a database that has nothing of it: what holds providers or clients must
        not be told by an example to forget them, because a folder is not mounted or was not restored."""
        for name in FILES:
            target: Path = settings.CONFIG_DIR / name
            if os.path.exists(target):
                continue
            if os.path.lexists(target) or not is_new(name):
                self._hint(
                    f"warning: {target} is missing; the database stands. To write the file anew: manage.py export_config"
                )
                continue
            example = example_of(name)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                write_new(target, example.read_bytes())
            except OSError as error:
                raise CommandError(f"{target} cannot be written ({error.strerror})", returncode=2) from None
            self._hint(f"Copied {example.name} to {target}")

    def _make_admin(self) -> None:
        users = get_user_model().objects
        if users.filter(is_superuser=True).exists():
            return
        name = os.environ.get("DJANGO_SUPERUSER_USERNAME") or "admin"
        password = os.environ.get("DJANGO_SUPERUSER_PASSWORD")
        if not password:
            password = secrets.token_urlsafe(18)
            path = Path(settings.STATE_DIR) / PASSWORD_FILE
            path.unlink(missing_ok=True)
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(password + "\n")
            self._hint(f"Made the admin user {name!r}; its password is in {path}")
        with attributed("start", "there was no superuser yet"):
            users.create_superuser(name, os.environ.get("DJANGO_SUPERUSER_EMAIL", ""), password)

    def _import_changed(self) -> None:
        """A file that alone has changed is imported; if both sides changed, the database stands (contract §3)."""
        for name in FILES:
            path: Path = settings.CONFIG_DIR / name
            try:
                found = drift(name, path)
                if found is None or not found.file_changed:
                    continue
                # Put there by the first start of a checkout that a database was brought to later.
                untouched = path.read_bytes() == example_of(name).read_bytes() and not is_new(name)
            except OSError as error:
                raise CommandError(f"{path} cannot be read ({error.strerror})", returncode=2) from None
            if found.database_changed or untouched:
                why = (
                    "and the database both changed"
                    if found.database_changed
                    else "is the example as it came, not what the database met last"
                )
                self._hint(
                    f"warning: {path} {why}; the database stands. To take the file: "
                    f"manage.py import_config; to write the database over it: manage.py export_config"
                )
            else:
                self._import(name, path)

    def _import(self, name: str, path: Path) -> None:
        try:
            outcome = import_files({name: path}, author="start")
        except ImportRefused as refused:
            listed = "\n".join(str(problem) for problem in refused.problems)
            raise CommandError(f"{listed}\n{name} was not imported", returncode=2) from None
        for warning in outcome.warnings + outcome.consequences:
            self._hint(f"warning: {warning}")
        self._hint(f"Imported {path}")

    def _issue_uat_token(self) -> None:
        """Into the environment file, so that `uat/run_uat.py` finds it; anew when it is no longer known."""
        present = os.environ.get("UAT_CLIENT_TOKEN")
        if present:
            if not is_known(present, peppers()):
                self._hint(
                    "warning: UAT_CLIENT_TOKEN is set but no client has this token; run_uat.py will be refused"
                )
            return
        with attributed("start", "token for the UAT client"):
            found = drift(CLIENTS, settings.CONFIG_DIR / CLIENTS)
            try:
                with transaction.atomic():
                    minted = issue(UAT_CLIENT, METHODS, peppers()[0])
                    envfile.add(env_file(), "UAT_CLIENT_TOKEN", minted.text)
            except OSError as error:
                told = f"{env_file()} cannot be written ({error.strerror})"
                self._hint(f"warning: no token was issued for the client {UAT_CLIENT!r}: {told}")
                return
            self._hint(f"Issued a token for the client {UAT_CLIENT!r} as UAT_CLIENT_TOKEN in {env_file()}")
            if found is not None and not found.words:
                self._export_clients()

    def _export_clients(self) -> None:
        """The file agreed with the database until the start itself issued a token: were it left behind, the start
        would warn of its own doing, and what is edited in the file next would not be imported (both changed)."""
        path: Path = settings.CONFIG_DIR / CLIENTS
        try:
            export_file(CLIENTS, settings.CONFIG_DIR)
        except SaveError as error:
            self._hint(f"warning: {error}; to bring the file up to date: manage.py export_config")
            return
        self._hint(f"Added it, as a digest, to {path}; the file as it was is {backups_of(path)[0].name}")

    def _hint(self, text: str) -> None:
        self.stderr.write(text)
