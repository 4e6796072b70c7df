"""JSON as strictly as the contract wants it, before it is decoded into a struct.

The struct decoder refuses wrong types, NaN and unpaired surrogates where it looks; what it passes over
unread (schemas of tools), doubled keys and depth are found here.
"""

import json
import math
import re
from typing import Any, NoReturn

import msgspec

from gateway.errors import Detail, Refusal
from gateway.wording import sentence

MAX_DEPTH = 64
# Possessive, and content with a string that never ends: there is nothing to go back to, however long it is.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|\x00")
_AT = re.compile(r" - at `\$\.?(?P<path>.*)`$", re.DOTALL)
_VALUE = re.compile(r"""^(Invalid (?:enum )?value) (?:'.*'|".*")(?= - at `|$)""", re.DOTALL)
_FIELD = re.compile(r"(?:required|unknown) field `(?P<field>[^`]*)`|^`(?P<named>[^`]*)`")


def refuse(reason: str, message: str) -> NoReturn:
    raise Refusal("BAD_REQUEST", message, reason=reason)


def require_json(body: bytes) -> Any:
    """The value. Raises `Refusal` (`BAD_REQUEST` with a reason) for anything but one well-formed JSON value."""
    if body.startswith(b"\xef\xbb\xbf"):
        refuse("INVALID_ENCODING", "The body must be UTF-8 without a byte order mark")
    try:
        text = body.decode()
    except UnicodeDecodeError:
        refuse("INVALID_ENCODING", "The body is not valid UTF-8")
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(body) > MAX_DEPTH:
        refuse("JSON_TOO_DEEP", f"The body is nested more than {MAX_DEPTH} levels deep")
    try:
        value = _checked(text)
    except json.JSONDecodeError:
        refuse("INVALID_JSON", "The body is not valid JSON")
    except ValueError:
        # Python's guard against quadratic conversion: integers of more than 4,300 digits.
        refuse("NUMBER_OUT_OF_RANGE", "A number is out of range")
    except RecursionError:
        refuse("JSON_TOO_DEEP", f"The body is nested more than {MAX_DEPTH} levels deep")
    if _SUSPECT.search(body):
        _require_text(value)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        refuse("DUPLICATE_KEY", "An object has the same key twice")
    return members


def _constant(name: str) -> NoReturn:
    refuse("INVALID_JSON", f"{name} is not JSON")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        refuse("NUMBER_OUT_OF_RANGE", "A number is out of range")
    return number


_checked = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_constant, parse_float=_float).decode


def _depth(body: bytes) -> int:
    depth = deepest = 0
    for match in _BRACKET.finditer(_STRING.sub(b"", body)):
        if match[0] in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _require_text(value: Any) -> None:
    """No NUL (no database takes it) and no half of a surrogate pair (it has no UTF-8 form) in any string."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += item.keys()
            pending += item.values()
        elif isinstance(item, list):
            pending += item
        elif isinstance(item, str) and ("\0" in item or _has_surrogate(item)):
            refuse("INVALID_UNICODE", "A string contains NUL or an unpaired surrogate")


def _has_surrogate(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def invalid(error: msgspec.ValidationError) -> Refusal:
    """The decoder's complaint as the contract's `details`, in words: names of fields in it, but no value of the request."""
    text = _VALUE.sub(r"\1", str(error))
    at = _AT.search(text)
    path, message = (at["path"], text[: at.start()]) if at else ("", text)
    field = _FIELD.search(message)
    if field:
        name = field["field"] or field["named"]
        path = f"{path}.{name}" if path else name
    reason = "NUMBER_OUT_OF_RANGE" if "out of range" in message else "VALIDATION_FAILED"
    detail = Detail(path[:500], sentence(message)[:500])
    return Refusal("BAD_REQUEST", "The request is not valid", reason=reason, details=(detail,))
