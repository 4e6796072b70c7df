"""`python -m gateway.envfile`: makes the environment file at first start, or adds the secrets it lacks.

Runs before Django's settings can be loaded. What the file has stays as it is, byte for byte; the process
environment wins over the file, so what it already has is not written.
"""

import os
import re
import sys
from pathlib import Path

from gateway.environment import env_file, missing_secrets, new_secret, render_example

_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$", re.MULTILINE)


def assigned(text: str) -> set[str]:
    """Names that the text gives a value that is not empty."""
    return {name for name, value in _ASSIGNMENT.findall(text) if value.strip("'\"")}


def complete(path: Path, example: str) -> list[str]:
    """Writes what is missing and returns the names of the secrets made. Mode 0600 from the first byte on."""
    text = path.read_text(encoding="utf-8") if path.exists() else example
    missing = missing_secrets(assigned(text))
    if path.exists() and not missing:
        return []
    for name in missing:
        line = f"{name}={new_secret()}"
        commented = re.compile(rf"^# {name}=$", re.MULTILINE)
        if not path.exists() and commented.search(text):
            text = commented.sub(line, text, count=1)
        else:
            text = f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{line}\n"
    _write(path, text)
    return missing


def add(path: Path, name: str, value: str) -> None:
    """Appends one assignment to an existing file."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    _write(path, f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}{name}={value}\n")


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(fd, text.encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)


def main() -> None:
    path = env_file()
    made = complete(path, render_example())
    if made:
        sys.stderr.write(f"Made {', '.join(made)} in {path}\n")


if __name__ == "__main__":
    main()
