"""Settings that are spelt so that nobody reads them, or stand twice: told at a start and by `manage.py check`."""

import os
from difflib import get_close_matches

from gateway import envlines
from gateway.environment import BY_NAME, SettingsError, env_file, env_text

PREFIX = "LLM_CALLER_"
ELSEWHERE = ("LLM_CALLER_VENV", "LLM_CALLER_TEST_DATABASE_URL")
"""Read by the start scripts and the tests, not by the product."""


def warnings() -> list[str]:
    """Sentences that name settings and never show a value."""
    return unknown() + _repeated()


def unknown() -> list[str]:
    """Of the process environment, which has taken over what the file says."""
    known = [name for name in (*BY_NAME, *ELSEWHERE) if name.startswith(PREFIX)]
    said = []
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known and name.removesuffix("_FILE") not in known:
            near = get_close_matches(name, known, 1, cutoff=0.8)
            hint = f"; {near[0]} is meant?" if near else ""
            said.append(f"{name} is not a setting and is not read{hint}")
    return said


def _repeated() -> list[str]:
    try:
        found = envlines.repeated(env_text(env_file()))
    except SettingsError:  # changed since the start; the next one tells
        return []
    return [
        f"{name} has several values in {env_file()}, on lines {', '.join(map(str, lines))}; the last counts"
        for name, lines in found.items()
    ]
