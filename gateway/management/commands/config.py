"""`manage.py config`: the configuration assistant, for machines without a browser."""

import getpass
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError

from gateway.assistant.menu import Menu
from gateway.assistant.prompts import Console
from gateway.changelog import operating_system_user


class Command(BaseCommand):
    help = (
        "A menu for providers, clients and tokens. Works on a draft; saving changes the database in one step and "
        "writes the JSON files with their backups. Exit code 1 when it was left with changes unsaved by Ctrl+C, "
        "Ctrl+D or the end of a script of answers on standard input."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        terminal = sys.stdin.isatty()
        ask = _ask_person if terminal else self._ask_script
        secret = getpass.getpass if terminal else self._ask_script_secretly
        console = Console(ask, secret, self.stdout.write)
        try:
            code = Menu(console, f"config assistant, {operating_system_user()}").run()
        except DatabaseError as error:
            raise CommandError(
                f"The database is not ready ({type(error).__name__}); run manage.py prepare", returncode=2
            ) from None
        sys.exit(code)

    def _ask_script(self, prompt: str) -> str:
        """The answer is shown behind its question, so that the output reads like the dialogue it was."""
        answer = self._ask_script_secretly(prompt, end="")
        self.stdout.write(answer)
        return answer

    def _ask_script_secretly(self, prompt: str, end: str = "\n") -> str:
        self.stdout.write(prompt, ending=end)
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line.removesuffix("\n")


def _ask_person(prompt: str) -> str:
    # Imported for what it does to input(): lines can be edited.
    import readline  # noqa: F401

    return input(prompt)
