"""Shapes of JSON values: rules for one value, and objects whose every name is known.

A rule is a function of one value; its docstring is how a problem names what was expected.
"""

import json
import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

CAPABILITIES = ("chat", "chatStream", "embed")
SEVERITY = ("ok", "degraded", "failed")
Rule = Callable[[Any], bool]


def given(value: Any) -> bool:
    """set"""
    return value is not None


def text(value: Any) -> bool:
    """a text"""
    return isinstance(value, str)


def name(value: Any) -> bool:
    """a text that is not empty"""
    return isinstance(value, str) and value != ""


def flag(value: Any) -> bool:
    """true or false"""
    return isinstance(value, bool)


def count(value: Any) -> bool:
    """a whole number of at least 0"""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def positive(value: Any) -> bool:
    """a whole number of at least 1"""
    return count(value) and value >= 1


def number(value: Any) -> bool:
    """a finite number"""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def items(value: Any) -> bool:
    """a list"""
    return isinstance(value, list)


def names(value: Any) -> bool:
    """a list of texts"""
    return isinstance(value, list) and all(name(entry) for entry in value)


def capabilities(value: Any) -> bool:
    """a list of capabilities"""
    return names(value) and set(value) <= set(CAPABILITIES)


def models_by_capability(value: Any) -> bool:
    """an object of a model for each capability"""
    return isinstance(value, dict) and set(value) <= set(CAPABILITIES) and all(map(name, value.values()))


def scores_by_capability(value: Any) -> bool:
    """an object of a number for each capability"""
    return isinstance(value, dict) and set(value) <= set(CAPABILITIES) and all(map(number, value.values()))


def health_status(value: Any) -> bool:
    """ok, degraded or failed"""
    return value in SEVERITY


def moment(value: Any) -> bool:
    """an ISO 8601 date and time"""
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


def decoded(raw: bytes) -> Any:
    """Parsed JSON; the text when it is not JSON. NaN and its kin are not JSON."""
    try:
        return json.loads(raw, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return raw.decode("utf-8", "replace")


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def fields(
    where: str, value: Any, required: dict[str, Rule], optional: dict[str, Rule] | None = None
) -> list[str]:
    """Every required name is there, no name is unknown, every value keeps its rule."""
    if not isinstance(value, dict):
        return [f"{where or 'the body'} is not an object"]
    known = required | (optional or {})
    prefix = f"{where}." if where else ""
    missing = [f"{prefix}{key} is missing" for key in required if key not in value]
    unknown = [f"{prefix}{key} is not in the contract" for key in value if key not in known]
    wrong = [
        f"{prefix}{key} is not {known[key].__doc__}"
        for key in value
        if key in known and not known[key](value[key])
    ]
    return missing + unknown + wrong
