"""The lines of an environment file, judged as django-environ reads them. Pure; nothing here shows a value.

django-environ passes over a line that it does not understand, and prints it as it is into the log, key and all.
"""

import re

_ASSIGNMENT = re.compile(r"\A(?:export )?([A-Za-z_0-9]+)=(.*)\Z")
_BEGINNING = re.compile(r"\A\s*(?:export\s+)?([A-Z]+(?:_[A-Z0-9]+)+|[A-Z]{2,20})\s*[=:]")
"""What is surely a name: a line that is the rest of a key has other letters before its `=`."""
_QUOTES = "'\""
NOT_ASSIGNED = "is not written NAME=value: no blanks around the =, and nothing before the name but `export `"
OPEN_QUOTE = "begins with a quote that does not end the line; quote the whole value, or nothing of it"


def assignments(text: str) -> list[tuple[int, str, str]]:
    """Line number, name and value as it stands there, of each line that assigns one."""
    matches = [(n, _ASSIGNMENT.match(line)) for n, line in _lines(text)]
    return [(n, match[1], match[2]) for n, match in matches if match]


def problems_of(text: str) -> list[str]:
    """A sentence for each line that would be passed over, or be taken for another value than is meant."""
    found = {n: (name, OPEN_QUOTE) for n, name, value in assignments(text) if _is_open(value)}
    assigned = {n for n, *_ in assignments(text)}
    for n, line in _lines(text):
        if n not in assigned and line.strip() and not line.lstrip().startswith("#"):
            name = _BEGINNING.match(line)
            found[n] = (name[1] if name else "", NOT_ASSIGNED)
    return [f"line {n}: {name or 'it'} {said}" for n, (name, said) in sorted(found.items())]


def repeated(text: str) -> dict[str, list[int]]:
    """Names that are given more than one value, with the numbers of their lines; the last counts."""
    lines: dict[str, list[tuple[int, str]]] = {}
    for n, name, value in assignments(text):
        if value.strip(f" \t{_QUOTES}"):
            lines.setdefault(name, []).append((n, value))
    return {name: [n for n, _ in found] for name, found in lines.items() if len({v for _, v in found}) > 1}


def readable(text: str) -> str:
    """Only what django-environ understands: of anything else it would speak."""
    return "\n".join(line for _, line in _lines(text) if _ASSIGNMENT.match(line))


def _lines(text: str) -> list[tuple[int, str]]:
    return list(enumerate(text.splitlines(), 1))


def _is_open(value: str) -> bool:
    quote = value.lstrip()[:1]
    return quote in _QUOTES and quote != "" and (len(value) < 2 or not value[0] == value[-1] == quote)
