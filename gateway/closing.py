"""The end of a call: kept in the journal, counted and logged, and what becomes of it when the journal cannot take it.

A client is given nothing that is not on record. So a call whose end cannot be written has failed, whatever its provider
said; that is what its client is told, what its log line says, and what its row says once there is room for one.
"""

import asyncio
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from gateway import capture
from gateway.ended import ended_call, log_end
from gateway.errors import problem_for
from telemetry.captured import SealedContent
from telemetry.journal import JournalError
from telemetry.types import CallRecord

if TYPE_CHECKING:
    from gateway.trail import Trail

_encode = msgspec.json.Encoder().encode
STREAMED = 200
"""The status of a stream once its head is out, however it ends."""
LEFT, DRAINED = "CLIENT_CLOSED", "DRAINED"
RATE = "rate"


class Sent(NamedTuple):
    """Bytes of the whole answer, and those of them that have gone out already."""

    whole: int
    already: int


class Waiting(NamedTuple):
    """An end as it was announced to the journal, until the disk has it."""

    record: CallRecord
    sent: Sent


def close(trail: "Trail", sent: Sent) -> None:
    """Raises `JournalError`, but for questions about health: whoever asks how things are is told, above all when they
    are bad."""
    journal = trail.gateway.journal
    try:
        _keep_content(trail)
    except JournalError as error:
        _fail(trail, sent, error)
        raise
    record = record_of(trail, sent.whole)
    try:
        if journal.waits and trail.method != "getHealth" and trail.outcome != LEFT:
            journal.announce(record)
            trail.waiting, trail.closed = Waiting(record, sent), False
            return
        journal.outcome(record)
    except JournalError as error:
        if trail.method != "getHealth":
            _fail(trail, sent, error)
            raise
        trail.gateway.metrics.count("journal_failures")
    _tell(trail)


async def wait(trail: "Trail", announced: Waiting) -> None:
    """Until the announced end is on the disk. Raises `JournalError` when it does not get there."""
    journal = trail.gateway.journal
    try:
        await journal.durable()
    except JournalError as error:
        _fail(trail, announced.sent, error)
        raise
    except asyncio.CancelledError:
        if announced.record.outcome == DRAINED:  # and its client left meanwhile: nothing else comes of it
            _conclude(trail, announced)
        raise
    _conclude(trail, announced)


def _conclude(trail: "Trail", announced: Waiting) -> None:
    journal = trail.gateway.journal
    try:
        journal.outcome(announced.record)
    except JournalError:
        # It is on the disk as announced: its client may have it.
        trail.gateway.metrics.count("journal_failures")
        journal.owe(announced.record)
    _tell(trail)


def _fail(trail: "Trail", sent: Sent, error: JournalError) -> None:
    """Its client is not given what cannot be recorded, so it did not go well; unless the client has left."""
    gateway = trail.gateway
    gateway.metrics.count("journal_failures")
    whole = sent.whole
    if trail.outcome != LEFT:
        whole = _withhold(trail, sent, error)
    record = record_of(trail, whole)
    try:
        gateway.journal.outcome(record)
    except JournalError:
        # A call that was refused unasked is as if it had not come; one that had begun waits for its end.
        if trail.begun:
            gateway.journal.owe(record)
    _tell(trail)


def _withhold(trail: "Trail", sent: Sent, error: JournalError) -> int:
    """Returns the bytes that the client is sent in all."""
    asked, streamed = bool(trail.run.attempts), trail.method == "chatStream"
    trail.refusal = problem_for(error, asked=asked)
    trail.outcome = trail.refusal.code
    if asked:
        trail.stage = "outcome"
    if not (streamed and trail.status == STREAMED):
        trail.status = trail.refusal.status
    if not streamed:
        trail.note_answer()  # nothing of one is sent
    return sent.already + len(_encode(trail.refusal.body(trail.call_id)))


def _tell(trail: "Trail") -> None:
    """To the metrics and the log: the end is one."""
    trail.closed = True
    problem, duration = trail.refusal, trail.elapsed_ms()
    trail.gateway.metrics.observe_call(
        trail.method or "unknown",
        outcome=trail.outcome,
        duration_ms=duration,
        attempts=trail.run.attempts,
        first_event_ms=trail.first_event_ms,
        tokens=(trail.usage.input_tokens, trail.usage.output_tokens),
        limit=(problem.reason or RATE).lower() if problem else RATE,
        offers=trail.gateway.offers,
    )
    log_end(trail, duration)
    if trail.gateway.spans is not None and trail.run.trace is not None:
        trail.gateway.spans.offer(ended_call(trail, trail.run.trace, duration))


def _keep_content(trail: "Trail") -> None:
    """Sealed before it reaches the journal; only of clients whose setting says so. Raises `JournalError`."""
    assert trail.caller is not None, "only identified calls are recorded"
    client, policy = trail.caller.client, trail.runtime.policy
    if trail.asked is None or not capture.is_wanted(client, trail.outcome):
        return
    content = capture.content_of(trail.asked, trail.answer, trail.answer_calls, policy.capture_max_bytes)
    now = time.time()
    trail.gateway.journal.content(
        SealedContent(
            call_id=trail.call_id,
            tool_id=client.tool_id,
            key_id=policy.capture_keys.newest_id,
            sealed=capture.seal(content, trail.call_id, policy.capture_keys),
            stored_at=now,
            expires_at=now + client.capture_days * capture.DAY_S,
        )
    )


def record_of(trail: "Trail", bytes_out: int) -> CallRecord:
    caller, attempts, problem = trail.caller, trail.run.attempts, trail.refusal
    assert caller is not None, "only identified calls are recorded"
    last = attempts[-1] if attempts else None
    return CallRecord(
        call_id=trail.call_id,
        request_id=trail.request_id,
        trace_id=trail.trace_id,
        tool_id=caller.client.tool_id,
        token_id=caller.token_id,
        claimed_tool=trail.claimed_tool,
        method=trail.method,
        peer=trail.peer,
        provider=last.provider if last else "",
        model=last.model if last else "",
        strategy=trail.strategy,
        reason=(problem.reason or "") if problem else "",
        attempts=tuple(msgspec.Raw(_encode(attempt)) for attempt in attempts),
        outcome=trail.outcome,
        status=trail.status,
        started_at=trail.started_at,
        first_event_ms=trail.first_event_ms,
        duration_ms=round(trail.elapsed_ms()),
        input_tokens=trail.usage.input_tokens,
        output_tokens=trail.usage.output_tokens,
        bytes_in=trail.bytes_in,
        bytes_out=bytes_out,
        sanitised=trail.sanitised,
        config_version=trail.runtime.version,
        decision=msgspec.Raw(_encode(trail.decided(trail.outcome))),
        request_digest=trail.digests.request,
        prompt_digest=trail.digests.prompt,
        answer_digest=trail.runtime.policy.digest_key.of_text(trail.answer),
    )
