#!/usr/bin/env python3
"""Entry point of the commands: `manage.py …` in a checkout, `llm-caller …` when installed."""

import os
import sys

DJANGOS_OWN = ("createsuperuser", "changepassword", "shell")
"""Commands of Django's that change what the change log tells."""


def main() -> None:
    try:
        run()
    except KeyboardInterrupt:
        print("llm-caller: stopped by Ctrl+C", file=sys.stderr)
        sys.exit(130)


def run() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "gateway.settings")
    from gateway.attribution import attributed
    from gateway.environment import SettingsError

    try:
        from django.core.management import execute_from_command_line

        # Ours say for themselves who changes what.
        named = next((name for name in DJANGOS_OWN if name in sys.argv[1:2]), "")
        with attributed(named, ""):
            execute_from_command_line(sys.argv)
    except SettingsError as error:
        print(f"llm-caller: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
