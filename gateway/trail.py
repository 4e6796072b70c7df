"""What happened to one call: the one mutable thing on the request path, closed exactly once."""

import time
from collections.abc import Sequence

import msgspec

from clients.limits import Reservation
from clients.tokens import redact_tokens
from clients.types import Caller, RateLimit
from gateway import capture, traceparent
from gateway.asked import Asked, Digests, digests_of
from gateway.decided import ConcurrencyState, Decided, rate_state, routing_of
from gateway.ended import ended_call, log_end
from gateway.errors import Problem, problem_for
from gateway.runtime import Gateway, new_call_id
from gateway.sanitise import Sanitised
from providers.attempt import Run
from providers.decision import Choice
from providers.routing import Plan
from providers.types import UNREPORTED, FinishReason, Target, ToolCall, Usage
from telemetry.captured import SealedContent
from telemetry.journal import JournalError
from telemetry.logs import describe
from telemetry.types import CallRecord, Intent

_encode = msgspec.json.Encoder().encode
STREAMED = 200
"""The status of a stream once its head is out, however it ends."""
RATE = "rate"


class Trail:
    """Made at accept. `started`: monotonic seconds; `started_at`: epoch seconds; `peer`: the caller's address.

    `request_id`: as it is recorded and logged; `echoed_id`: as it was sent, for the answer.
    `presented`: the caller's token, until the names in the body were looked through for it. Told nowhere.
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
        "echoed_id",
        "entered",
        "finish_reason",
        "first_event_ms",
        "gateway",
        "limit",
        "method",
        "outcome",
        "peer",
        "presented",
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
        self.request_id = self.echoed_id = ""
        self.claimed_tool = ""
        self.caller: Caller | None = None
        self.presented = ""
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

    def note_names(self, request_id: str, claimed_tool: str) -> None:
        """Who the request says it is. A token that was put there by mistake stays out of record and log."""
        self.echoed_id = request_id
        self.request_id, in_id = redact_tokens(request_id, self.presented)
        self.claimed_tool, in_tool = redact_tokens(claimed_tool, self.presented)
        self.presented = ""
        if in_id or in_tool:
            self.sanitised["redacted"] = in_id + in_tool
            keys = [name for name, count in (("callerTool", in_tool), ("requestId", in_id)) if count]
            self.gateway.log.warn(
                "Sensitive log metadata redacted",
                request_id=self.request_id,
                trace_id=self.call_id,
                metadata={"keys": keys},
            )

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
        self.closed, self.presented = True, ""
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
            offers=self.gateway.offers,
        )
        log_end(self, duration)
        if self.gateway.spans is not None and self.run.trace is not None:
            self.gateway.spans.offer(ended_call(self, self.run.trace, duration))

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
            busy=tuple(self.run.busy) or msgspec.UNSET,
            rate=rate_state(self.caller.client, self.limit, self.reservation) or msgspec.UNSET,
            concurrency=self.concurrency or msgspec.UNSET,
            trace_id=self.run.trace.trace_id if self.run.trace is not None else msgspec.UNSET,
        )
