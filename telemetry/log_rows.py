"""The row of the record that a call's outcome becomes."""

from datetime import UTC, datetime

from telemetry.audit.canonical import canonical, settled_json
from telemetry.audit.chain import row_of as facts_of
from telemetry.models import RequestLog
from telemetry.types import UNKNOWN, CallRecord

INT32, INT64 = 2**31 - 1, 2**63 - 1
_BLANK = {field.attname: field.get_default() for field in RequestLog._meta.concrete_fields}
"""In the order of the columns: a model takes them so in half the time."""


def row_of(record: CallRecord) -> RequestLog:
    """What others have written is cut to its column's width; what the gateway itself writes fits, and is set aside
    where it does not."""
    facts = _BLANK | {
        "call_id": record.call_id,
        "request_id": _text(record.request_id, 200),
        "trace_id": _text(record.trace_id, 200),
        "tool_id": _text(record.tool_id, 200),
        "token_id": record.token_id,
        "claimed_tool": _text(record.claimed_tool, 200),
        "method": record.method,
        "peer": record.peer[:64],
        "provider": record.provider,
        "model": _text(record.model, 500),
        "strategy": record.strategy,
        "attempts": [settled_json(attempt) for attempt in record.attempts],
        "outcome": record.outcome,
        "reason": record.reason[:50],
        "status": record.status,
        "started_at": _moment(record.started_at),
        "first_event_ms": None if record.first_event_ms is None else _count(record.first_event_ms, INT32),
        "duration_ms": _count(record.duration_ms, INT32),
        "input_tokens": _count(record.input_tokens, INT64),
        "output_tokens": _count(record.output_tokens, INT64),
        "bytes_in": _count(record.bytes_in, INT64),
        "bytes_out": _count(record.bytes_out, INT64),
        "sanitised": record.sanitised,
        "config_version": record.config_version,
        "decision": settled_json(record.decision),
        "request_digest": record.request_digest,
        "prompt_digest": record.prompt_digest,
        "answer_digest": record.answer_digest,
    }
    return RequestLog(*facts.values())


def is_row_of(record: CallRecord, row: RequestLog) -> bool:
    """Whether the row that bears the record's call id is of that call, and has a place in a chain: one that somebody
    put there for a moment would keep the call from being stored. Where one of both knows no more than how the call
    began, that is compared. Raises what a cell raises that cannot be read."""
    if not row.chain or not row.sequence or row.sequence < 1:
        return False
    anew = row_of(record)
    if UNKNOWN in (row.outcome, record.outcome):
        return all(getattr(row, name) == getattr(anew, name) for name in _KNOWN_AT_THE_BEGINNING)
    anew.chain, anew.sequence, anew.call_id = row.chain, row.sequence, row.call_id
    return canonical(facts_of(row)) == canonical(facts_of(anew))


_KNOWN_AT_THE_BEGINNING = ("tool_id", "token_id", "method", "peer", "started_at", "bytes_in")


def _moment(epoch_s: float) -> datetime:
    try:
        return datetime.fromtimestamp(epoch_s, UTC)
    except OSError as error:  # so the platform says it of what lies far beyond
        raise OverflowError(str(error)) from None


def _count(value: int, most: int) -> int:
    return min(max(value, 0), most)


def _text(value: str, width: int) -> str:
    """PostgreSQL takes no NUL in text."""
    return value.replace("\0", "")[:width]
