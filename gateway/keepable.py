"""What of a JSON text can be kept: finite numbers of 64 bits, text without NUL and lone surrogates, and not too deep.

Python's reader takes all of that, and what stores or writes it later would fail far from whoever can mend it. Pure.
"""

import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from providers.document import escape

MOST_LEVELS = 32
"""How deep values may lie. The files need six."""
_LONGEST_INT = 20
_UNKEPT = re.compile("[\x00\ud800-\udfff]")
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{},:]', re.DOTALL)
Problem = tuple[str, str]
Pairs = Callable[[list[tuple[str, Any]]], dict[str, Any]]


def parse(text: str, members: Pairs) -> tuple[Any, list[Problem]]:
    """The value, with what of it cannot be kept: JSON pointer, sentence. Raises `json.JSONDecodeError`."""
    try:
        value = json.loads(text, object_pairs_hook=members, parse_int=_whole)
    except RecursionError:
        return None, [(_too_deep(text), "is nested too deeply")]
    return value, list(problems_of(value))


def _whole(digits: str) -> float:
    """What has more digits than any number of 64 bits is too large, and slow to read."""
    return int(digits) if len(digits) <= _LONGEST_INT else math.inf


def problems_of(value: Any) -> Iterator[Problem]:
    """In the order of the file."""
    waiting = [("", value, 0)]
    while waiting:
        pointer, one, level = waiting.pop()
        if level > MOST_LEVELS:
            yield pointer, "is nested too deeply"
        elif isinstance(one, dict):
            if any(_UNKEPT.search(name) for name in one):
                yield pointer, "has a member whose name holds a NUL or an unpaired surrogate"
            below = [
                (f"{pointer}/{escape(name)}", item, level + 1)
                for name, item in one.items()
                if not _UNKEPT.search(name)
            ]
            waiting += reversed(below)
        elif isinstance(one, list):
            waiting += [(f"{pointer}/{n}", one[n], level + 1) for n in reversed(range(len(one)))]
        elif said := _of_scalar(one):
            yield pointer, said


def is_kept(name: str) -> bool:
    """Whether the name of a member can be kept, and printed."""
    return not _UNKEPT.search(name)


def _of_scalar(value: Any) -> str:
    if isinstance(value, str):
        found = _UNKEPT.search(value)
        if found is None:
            return ""
        return "holds a NUL" if found[0] == "\0" else "holds an unpaired surrogate"
    if isinstance(value, float):
        return "" if math.isfinite(value) else "is not a number that can be kept: a finite one is needed"
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return "is a number that is too large"
    return ""


def _too_deep(text: str) -> str:
    """The pointer of the first value below `MOST_LEVELS`, for a text that is too deep to be read."""
    path: list[str | int] = []
    last = ""
    for token in _TOKENS.finditer(text):
        sign = token[0]
        if sign in "{[":
            path.append(0 if sign == "[" else "")
            if len(path) > MOST_LEVELS:
                break
        elif sign in "}]":
            del path[-1:]
        elif sign == "," and path and isinstance(path[-1], int):
            path[-1] += 1
        elif sign == ":" and path:
            path[-1] = last
        else:
            last = sign
    return "".join(f"/{step if isinstance(step, int) else _name(step)}" for step in path[:MOST_LEVELS])


def _name(quoted: str) -> str:
    """Printable in any case: what stands there was not read yet."""
    try:
        name: str = json.loads(quoted, strict=False)
    except ValueError:
        return ""
    return escape(_UNKEPT.sub("\N{REPLACEMENT CHARACTER}", name))
