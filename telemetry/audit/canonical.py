"""The bytes of a row that are hashed: the same from a live row, from either database, and from an export.

A row is a JSON object without spaces, its keys sorted at every level, in UTF-8, without the fields that hold
nothing ("", 0, null, {}, []). So a column that is added later changes no old hash. The standard library says
the same as `canonical`: `json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`.
"""

import hashlib
import re
from datetime import UTC, datetime
from typing import Any

import msgspec


class Row(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True):
    """One call of the record. Fields are in the order of their JSON names, which is the order of the bytes.

    `call_id`: with dashes. `started_at`: as `stamp` writes it. `chain` and `sequence`: its place.
    """

    answer_digest: str = ""
    attempts: list[Any] = []
    bytes_in: int = 0
    bytes_out: int = 0
    call_id: str = ""
    chain: str = ""
    claimed_tool: str = ""
    config_version: int = 0
    decision: dict[str, Any] = {}
    duration_ms: int = 0
    first_event_ms: int | None = None
    input_tokens: int = 0
    method: str = ""
    model: str = ""
    outcome: str = ""
    output_tokens: int = 0
    peer: str = ""
    prompt_digest: str = ""
    provider: str = ""
    reason: str = ""
    request_digest: str = ""
    request_id: str = ""
    sanitised: dict[str, Any] = {}
    sequence: int = 0
    started_at: str = ""
    status: int = 0
    strategy: str = ""
    token_id: str = ""
    tool_id: str = ""
    trace_id: str = ""


COLUMNS = Row.__struct_fields__
_SAFE = 2**53
_LONG = re.compile(rb"[0-9]{16}")
"""What a whole number has that is not `_SAFE`. Others meet `float_hook`."""

canonical = msgspec.json.Encoder(order="deterministic").encode


def link_of(entry: dict[str, Any]) -> str:
    """As `verifier.link_of`, at a sixth of its cost."""
    return hashlib.sha256(canonical(entry)).hexdigest()


def stamp(moment: datetime) -> str:
    """UTC with microseconds, `2026-11-25T13:00:00.250000Z`, whatever zone the moment is told in."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")[:-6] + "Z"


def settled_json(text: bytes | msgspec.Raw) -> Any:
    """`settled` of what such a text says, without a walk through it where it has no long number."""
    return settled(msgspec.json.decode(text)) if _LONG.search(text) else _with_floats_settled(text)


def settled(value: Any) -> Any:
    """JSON whose numbers every reader writes alike: whole numbers as integers, others with three decimals.

    A database of binary JSON gives 1e3 back as 1000, and libraries differ about exponents.
    """
    if isinstance(value, float):
        if not -_SAFE < value < _SAFE:
            return repr(value)
        value = round(value, 3)
        return int(value) if value.is_integer() else value
    if isinstance(value, int) and not isinstance(value, bool) and not -_SAFE < value < _SAFE:
        return repr(value)
    if isinstance(value, dict):
        return {key: settled(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [settled(inner) for inner in value]
    return value


_with_floats_settled = msgspec.json.Decoder(float_hook=lambda text: settled(float(text))).decode
