"""`python -m gateway.envfile`: makes the environment file at first start, or adds the secrets it lacks.

Runs before Django's settings can be loaded. What the file has stays as it is, byte for byte; the process
environment wins over the file, so what it already has is not written.
"""

import os
import re
import sys
from pathlib import Path

from gateway.backups import write_new
from gateway.environment import (
    SettingsError,
    env_file,
    env_text,
    missing_secrets,
    new_secret,
    render_example,
)

# As django-environ reads a line, behind the mark that some editors put before the first: nothing around the `=`, nothing but `export ` before the name; the last counts.
_ASSIGNMENT = re.compile(r"^\ufeff?(?:export )?([A-Za-z_0-9]+)=([^\r\n]*)", re.MULTILINE)
_BLANK = " \t'\""


def assigned(text: str) -> set[str]:
    """Names that the text gives a value that is not empty."""
    return {name for name, value in dict(_ASSIGNMENT.findall(text)).items() if value.strip(_BLANK)}


def complete(path: Path, example: str) -> list[str]:
    """Writes what is missing and returns the names of the secrets made. Mode 0600 from the first byte on."""
    text = _read(path) if path.exists() else example
    missing = missing_secrets(assigned(text))
    if path.exists() and not missing:
        return []
    for name in missing:
        commented = re.compile(rf"^# {name}=$", re.MULTILINE)
        if not path.exists() and commented.search(text):
            text = commented.sub(f"{name}=", text, count=1)
        text = _with(text, name, new_secret())
    _write(path, text)
    return missing


def add(path: Path, name: str, value: str) -> None:
    """Makes one assignment in a file that has none of this name, or an empty one."""
    _write(path, _with(_read(path) if path.exists() else "", name, value))


def _with(text: str, name: str, value: str) -> str:
    """Empty assignments are filled where they stand, so that none shadows the value; else it is the last line."""
    empty = re.compile(rf"^(\ufeff?(?:export )?{name}=)[{_BLANK}]*(?=\r?$)", re.MULTILINE)
    filled, count = empty.subn(lambda match: match[1] + value, text)
    if count:
        return filled
    newline = "\r\n" if "\r\n" in text else "\n"
    return f"{text}{'' if not text or text.endswith(chr(10)) else newline}{name}={value}{newline}"


def _read(path: Path) -> str:
    """With its line ends as they are."""
    return path.read_bytes().decode()


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(temporary, text.encode())
    temporary.replace(path)


def _refused(why: str) -> int:
    sys.stderr.write(f"llm-caller: {why}\n")
    return 2


def main() -> None:
    path = env_file()
    try:
        env_text(path)  # a secret on a line that nobody reads would be made a second time
        made = complete(path, render_example())
    except SettingsError as error:
        sys.exit(_refused(str(error)))
    except OSError as error:
        sys.exit(_refused(f"LLM_CALLER_ENV_FILE: {path} cannot be written ({error.strerror})"))
    if made:
        sys.stderr.write(f"Made {', '.join(made)} in {path}\n")


if __name__ == "__main__":
    main()
