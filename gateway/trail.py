"""What happened to one call: the one mutable thing on the request path, closed exactly once."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec

from clients.limits import Reservation
from clients.types import Caller, RateLimit
from gateway import capture, traceparent
from gateway.asked import Asked, Digests, digests_of
from gateway.decided import ConcurrencyState, Decided, rate_state, routing_of
from gateway.errors import Problem, problem_for
from gateway.runtime import Gateway, new_call_id
from gateway.sanitise import Sanitised
from providers.attempt import Run
from providers.decision import Choice
from providers.routing import Plan
from providers.trace import Trace
from providers.types import UNREPORTED, FinishReason, Target, ToolCall, Usage
from telemetry.captured import SealedContent
from telemetry.journal import JournalError
from telemetry.logs import describe
from telemetry.spans import EndedCall
from telemetry.types import CallRecord, Intent

_encode = msgspec.json.Encoder().encode
DISPATCH_FAILED = {
    "chat": "Chat dispatch failed",
    "chatStream": "Stream dispatch failed",
    "embed": "Embed dispatch failed",
}
COMPLETED = {
    "chat": "chat request completed",
    "chatStream": "chatStream completed",
    "embed": "embed request completed",
}
QUIET = frozenset({"models", "getHealth"})
STREAMED = 200
"""The status of a stream once its head is out, however it ends."""
RATE = "rate"
CLIENT_ERRORS = frozenset({"BAD_REQUEST", "FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "CLIENT_CLOSED"})


class Trail:
    """Made at accept. `started`: monotonic seconds; `started_at`: epoch seconds; `peer`: the caller's address.

    `answer`, `answer_calls`: the text and tool calls that the client was sent, as far as they were sent.
    """

    __slots__ = (
        "answer",
        "answer_calls",
        "asked",
        "bytes_in",
        "call_id",
        "caller",
        "choice",
        "claimed_tool",
        "closed",
        "concurrency",
        "digests",
        "entered",
        "finish_reason",
        "first_event_ms",
        "gateway",
        "limit",
        "method",
        "outcome",
        "peer",
        "provider_trace_id",
        "refusal",
        "request_id",
        "reservation",
        "run",
        "runtime",
        "sanitised",
        "stage",
        "started",
        "started_at",
        "status",
        "strategy",
        "target",
        "unable",
        "usage",
    )

    def __init__(self, gateway: Gateway, peer: str) -> None:
        self.gateway = gateway
        self.runtime = gateway.runtime
        self.call_id = new_call_id()
        self.started = time.monotonic()
        self.started_at = time.time()
        self.peer = peer
        self.method = ""
        self.request_id = ""
        self.claimed_tool = ""
        self.caller: Caller | None = None
        self.stage = "permission"
        self.choice: Choice | None = None
        self.unable: dict[str, str] = {}
        self.limit: RateLimit | None = None
        self.reservation: Reservation | None = None
        self.concurrency: ConcurrencyState | None = None
        self.entered = False
        policy = self.runtime.policy
        self.run = Run(
            retry_attempts=policy.retry_attempts, started=self.started, total_ms=policy.total_timeout_ms
        )
        self.target: Target | None = None
        self.strategy = ""
        self.provider_trace_id: str | None = None
        self.usage: Usage = UNREPORTED
        self.finish_reason: FinishReason | None = None
        self.first_event_ms: int | None = None
        self.sanitised: dict[str, int] = {}
        self.bytes_in = 0
        self.asked: Asked | None = None
        self.digests = Digests()
        self.answer = ""
        self.answer_calls: tuple[ToolCall, ...] = ()
        self.closed = False
        self.outcome = ""
        self.status = 0
        self.refusal: Problem | None = None

    def join(self, traceparents: Sequence[bytes]) -> None:
        """The trace that the client's header names; of calls that are exported, else a new one."""
        if self.gateway.spans is not None:
            self.run.trace = traceparent.begin(traceparents)
        elif traceparents:
            self.run.trace = traceparent.read(traceparents)

    @property
    def trace_id(self) -> str:
        """The provider's id when it gave one, else the call id."""
        return self.provider_trace_id or self.call_id

    def elapsed_ms(self) -> float:
        return (time.monotonic() - self.started) * 1000

    def note_asked(self, asked: Asked) -> None:
        self.asked, self.digests = asked, digests_of(asked, self.runtime.policy.digest_key)

    def note_answer(self, text: str = "", calls: tuple[ToolCall, ...] = ()) -> None:
        self.answer, self.answer_calls = text, calls

    def answered(self, plan: Plan, target: Target) -> None:
        self.target = target
        self.strategy = plan.strategy(target, self.run.failed())

    def note_sanitised(self, result: Sanitised) -> None:
        """Counts, and warns with the contract's words, what was done to an event."""
        for key, count, message in (
            ("removed", result.removed, "Stream payload sanitized"),
            ("dropped", result.dropped, "Stream payload dropped (non-text content)"),
            ("split", result.split, "Stream payload split"),
        ):
            if count:
                self.sanitised[key] = self.sanitised.get(key, 0) + count
                self.gateway.metrics.count(f"stream_payload_{key}", count)
                self.gateway.log.warn(
                    message,
                    request_id=self.request_id,
                    trace_id=self.trace_id,
                    metadata={"callId": self.call_id, "provider": self.target and self.target.provider.name},
                )

    def problem(self, error: Exception) -> Problem:
        """What the client is told about an exception; a defect of ours is logged with where it was."""
        problem = problem_for(error)
        if problem.code == "INTERNAL_ERROR":
            self.gateway.log.error(
                "Internal error",
                request_id=self.request_id,
                trace_id=self.call_id,
                metadata=describe(error),
            )
        return problem

    def intent(self) -> Intent:
        assert self.caller is not None, "only identified calls are recorded"
        return Intent(
            call_id=self.call_id,
            request_id=self.request_id,
            tool_id=self.caller.client.tool_id,
            token_id=self.caller.token_id,
            method=self.method,
            peer=self.peer,
            started_at=self.started_at,
            config_version=self.runtime.version,
            claimed_tool=self.claimed_tool,
            bytes_in=self.bytes_in,
            request_digest=self.digests.request,
            prompt_digest=self.digests.prompt,
        )

    async def record_intent(self) -> None:
        """Raises `JournalError`; then no provider may be called."""
        journal = self.gateway.journal
        try:
            journal.intent(self.intent())
            if journal.waits:
                await journal.durable()
        except JournalError:
            self.gateway.metrics.count("journal_failures")
            raise

    def close(
        self, *, status: int, bytes_out: int, problem: Problem | None = None, outcome: str = ""
    ) -> None:
        """Records, counts and logs the end of the call. Raises `JournalError` when it cannot be recorded, but for
        questions about health, which are answered all the same.

        `outcome`: only where no problem names it (`CLIENT_CLOSED`). Calls without a caller are only counted.
        """
        if self.closed:
            return
        self.closed = True
        if self.entered:
            assert self.caller is not None, "only identified calls enter"
            self.gateway.concurrency.leave(self.caller.client.tool_id)
        self.outcome = outcome or (problem.code if problem else "ok")
        self.refusal, self.status = problem, status
        duration = self.elapsed_ms()
        if self.caller is None:
            self.gateway.metrics.count(f"refused_{self.outcome.lower()}")
            return
        try:
            self._journal(outcome, round(duration), bytes_out)
        except JournalError as error:
            self.gateway.metrics.count("journal_failures")
            # Whoever asks how things are is told, above all when they are bad.
            if self.method != "getHealth":
                self._unrecorded(outcome, error)
                self._tell(duration)
                raise
        self._tell(duration)

    def _journal(self, outcome: str, duration_ms: int, bytes_out: int) -> None:
        """Content that was to be kept comes first. Where there is no room for it, the call has failed, and that is
        what its outcome says. Raises `JournalError`."""
        failure: JournalError | None = None
        try:
            self._keep_content(self.outcome)
        except JournalError as error:
            failure, sent = error, self.status
            self._unrecorded(outcome, error)
            if self.method != "chatStream":
                self.note_answer()  # nothing of one is sent
            elif sent == STREAMED:
                self.status = sent
        record = self._record(self.outcome, self.status, self.refusal, duration_ms, bytes_out)
        self.gateway.journal.outcome(record)
        if failure is not None:
            raise failure

    def _unrecorded(self, outcome: str, error: JournalError) -> None:
        """Its client is not given what cannot be recorded, so it did not go well; unless the client has left."""
        if not outcome:
            self.refusal = problem_for(error)
            self.outcome, self.status = self.refusal.code, self.refusal.status

    def _tell(self, duration: float) -> None:
        """To the metrics and the log."""
        problem = self.refusal
        self.gateway.metrics.observe_call(
            self.method or "unknown",
            outcome=self.outcome,
            duration_ms=duration,
            attempts=self.run.attempts,
            first_event_ms=self.first_event_ms,
            tokens=(self.usage.input_tokens, self.usage.output_tokens),
            limit=(problem.reason or RATE).lower() if problem else RATE,
        )
        self._log(self.outcome, problem, duration)
        if self.gateway.spans is not None and self.run.trace is not None:
            self.gateway.spans.offer(self._ended(self.run.trace, duration))

    def _ended(self, trace: Trace, duration: float) -> EndedCall:
        assert self.caller is not None, "only identified calls are exported"
        known = self.runtime.catalog.providers
        return EndedCall(
            method=self.method,
            call_id=self.call_id,
            tool_id=self.caller.client.tool_id,
            outcome=self.outcome,
            status=self.status,
            started_at=self.started_at,
            duration_ms=duration,
            trace_id=trace.trace_id,
            parent=trace.parent,
            span=trace.span,
            sampled=trace.sampled,
            attempts=self.run.attempts,
            began=[(span, self.started_at + at - self.started) for span, at in self.run.began],
            kinds={a.provider: known[a.provider].kind for a in self.run.attempts if a.provider in known},
            first_event_ms=self.first_event_ms,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            tokens_reported=self.usage.reported,
            finish_reason=self.finish_reason,
        )

    async def recorded(self) -> None:
        """To be awaited between `close` and the last byte: where `LLM_CALLER_AUDIT_SYNC` is `always`, the outcome is
        on the disk then. Raises `JournalError`, but for questions about health."""
        journal = self.gateway.journal
        if journal.waits and self.caller is not None and self.method != "getHealth":
            await journal.durable()

    def _keep_content(self, outcome: str) -> None:
        """Sealed before it reaches the journal; only of clients whose setting says so. Raises `JournalError`."""
        assert self.caller is not None, "only identified calls are recorded"
        client, policy = self.caller.client, self.runtime.policy
        if self.asked is None or not capture.is_wanted(client, outcome):
            return
        content = capture.content_of(self.asked, self.answer, self.answer_calls, policy.capture_max_bytes)
        now = time.time()
        self.gateway.journal.content(
            SealedContent(
                call_id=self.call_id,
                tool_id=client.tool_id,
                key_id=policy.capture_keys.newest_id,
                sealed=capture.seal(content, self.call_id, policy.capture_keys),
                stored_at=now,
                expires_at=now + client.capture_days * capture.DAY_S,
            )
        )

    def _record(
        self, outcome: str, status: int, problem: Problem | None, duration_ms: int, bytes_out: int
    ) -> CallRecord:
        caller, attempts = self.caller, self.run.attempts
        assert caller is not None, "only identified calls are recorded"
        last = attempts[-1] if attempts else None
        return CallRecord(
            call_id=self.call_id,
            request_id=self.request_id,
            trace_id=self.trace_id,
            tool_id=caller.client.tool_id,
            token_id=caller.token_id,
            claimed_tool=self.claimed_tool,
            method=self.method,
            peer=self.peer,
            provider=last.provider if last else "",
            model=last.model if last else "",
            strategy=self.strategy,
            reason=(problem.reason or "") if problem else "",
            attempts=tuple(msgspec.Raw(_encode(attempt)) for attempt in attempts),
            outcome=outcome,
            status=status,
            started_at=self.started_at,
            first_event_ms=self.first_event_ms,
            duration_ms=duration_ms,
            input_tokens=self.usage.input_tokens,
            output_tokens=self.usage.output_tokens,
            bytes_in=self.bytes_in,
            bytes_out=bytes_out,
            sanitised=self.sanitised,
            config_version=self.runtime.version,
            decision=msgspec.Raw(_encode(self.decided(outcome))),
            request_digest=self.digests.request,
            prompt_digest=self.digests.prompt,
            answer_digest=self.runtime.policy.digest_key.of_text(self.answer),
        )

    def decided(self, outcome: str) -> Decided:
        """Why the call went where it went, or where it was refused."""
        assert self.caller is not None, "only identified calls are decided about"
        return Decided(
            stage=msgspec.UNSET if outcome == "ok" else self.stage,
            routing=routing_of(self.choice),
            unable=self.unable or msgspec.UNSET,
            rate=rate_state(self.caller.client, self.limit, self.reservation) or msgspec.UNSET,
            concurrency=self.concurrency or msgspec.UNSET,
        )

    def _log(self, outcome: str, problem: Problem | None, duration_ms: float) -> None:
        log = self.gateway.log
        metadata = self._metadata(outcome, problem, duration_ms)
        if outcome == "ok":
            level, message = "info", COMPLETED.get(self.method, f"{self.method} request completed")
            if self.method in QUIET:
                level = "debug"
        elif outcome == "RATE_LIMIT" and not self.run.attempts:
            level, message = "warn", "Rate limit exceeded"
        elif outcome in CLIENT_ERRORS:
            level, message = "warn", f"{self.method} request refused"
            if outcome == "CLIENT_CLOSED":
                level, message = "info", f"{self.method} closed by the client"
        else:
            level, message = "error", DISPATCH_FAILED.get(self.method, f"{self.method} failed")
        log.write(level, message, request_id=self.request_id, trace_id=self.trace_id, metadata=metadata)  # type: ignore[arg-type]

    def _metadata(self, outcome: str, problem: Problem | None, duration_ms: float) -> dict[str, Any]:
        caller, attempts = self.caller, self.run.attempts
        assert caller is not None, "only identified calls are logged"
        metadata: dict[str, Any] = {
            "callId": self.call_id,
            "toolId": caller.client.tool_id,
            "callerTool": self.claimed_tool,
            "method": self.method,
            "provider": attempts[-1].provider if attempts else None,
            "model": attempts[-1].model if attempts else None,
            "strategy": self.strategy or None,
            "retries": max(len(attempts) - 1, 0),
            "durationMs": round(duration_ms, 1),
        }
        if problem is not None:
            metadata |= {"code": outcome, "reason": problem.reason, "retryAfterMs": problem.retry_after_ms}
        if outcome == "RATE_LIMIT" and not attempts:
            metadata["tokenHash"] = caller.token_hash
        if self.reservation is not None:
            metadata["rateLimit"] = {
                "limit": self.reservation.limit,
                "remaining": self.reservation.remaining,
            }
        return metadata
