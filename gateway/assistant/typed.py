"""What a person types, as the value that a file holds, and back. Pure.

Each reader raises `ValueError` with what to type instead.
"""

import re
from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}


def show(value: Any) -> str:
    """A value as it would be typed."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, dict) and "maxRequests" in value:
        return f"{value['maxRequests']} per {value['intervalMs']} ms"
    return str(value).replace("\n", " ")


def text(typed: str) -> str:
    return typed


def names(typed: str) -> list[str]:
    return [part.strip() for part in typed.split(",") if part.strip()]


def whole(typed: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,12}", typed):
        raise ValueError("Type a whole number, for example 4.")
    return int(typed)


def number(typed: str) -> float:
    if not re.fullmatch(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?", typed):
        raise ValueError("Type a number, for example 95.")
    return float(typed) if "." in typed else int(typed)


def yes_or_no(typed: str) -> bool:
    if typed.lower() not in ("y", "yes", "n", "no"):
        raise ValueError("Type yes or no.")
    return typed.lower().startswith("y")


def limit(typed: str) -> dict[str, int]:
    match = re.fullmatch(r"([0-9]{1,9})\s*(?:/|per)\s*([0-9]{1,9})\s*(?:ms)?", typed)
    if match is None:
        raise ValueError("Type calls per milliseconds, for example 10 per 1000.")
    return {"maxRequests": int(match[1]), "intervalMs": int(match[2])}


def period(typed: str) -> int:
    """Seconds."""
    match = re.fullmatch(r"([0-9]{1,6})\s*([smhdw])", typed)
    if match is None or not int(match[1]):
        raise ValueError("Type a number and a unit of s, m, h, d or w, for example 90d.")
    return int(match[1]) * _UNITS[match[2]]


def show_period(seconds: int) -> str:
    unit = next(unit for unit in ("w", "d", "h", "m", "s") if seconds % _UNITS[unit] == 0)
    return f"{seconds // _UNITS[unit]}{unit}"
