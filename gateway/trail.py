"""What happened to one call: the one mutable thing on the request path, closed exactly once."""

import time
from collections.abc import Sequence

import msgspec

from clients.limits import Reservation
from clients.tokens import redact_tokens
from clients.types import Caller, RateLimit
from gateway import closing, traceparent
from gateway.asked import Asked, Digests, digests_of
from gateway.closing import Sent, Waiting
from gateway.decided import ConcurrencyState, Decided, rate_state, routing_of
from gateway.errors import Problem, problem_for
from gateway.runtime import Gateway, new_call_id
from gateway.sanitise import Sanitised
from providers.attempt import Run
from providers.decision import Choice
from providers.routing import Plan
from providers.types import UNREPORTED, FinishReason, Target, ToolCall, Usage
from telemetry.journal import JournalError
from telemetry.logs import describe
from telemetry.types import Intent


class Trail:
    """Made at accept. `started`: monotonic seconds; `started_at`: epoch seconds; `peer`: the caller's address.

    `request_id`: as it is recorded and logged; `echoed_id`: as it was sent, for the answer.
    `presented`: the caller's token, until the names in the body were looked through for it. Told nowhere.
    `begun`: its intent is in the journal. `waiting`: what was announced of its end.
    `answer`, `answer_calls`: the text and tool calls that the client was sent, as far as they were sent.
    """

    __slots__ = (
        "answer",
        "answer_calls",
        "asked",
        "begun",
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
        "waiting",
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
        self.begun = self.closed = False
        self.waiting: Waiting | None = None
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
        problem = problem_for(error, asked=bool(self.run.attempts))
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
            self.begun = True
            if journal.waits:
                await journal.durable()
        except JournalError:
            self.gateway.metrics.count("journal_failures")
            raise

    def close(
        self,
        *,
        status: int,
        bytes_out: int,
        problem: Problem | None = None,
        outcome: str = "",
        sent: int = 0,
    ) -> None:
        """Records, counts and logs the end of the call. Raises `JournalError` when it cannot be recorded, but for
        questions about health, which are answered all the same.

        `outcome`: only where no problem names it (`CLIENT_CLOSED`). Calls without a caller are only counted. `sent`: what
        of `bytes_out` has gone out already. Where the journal waits for the disk, the end is one only when `recorded`
        says so: until then another may come, of a client that leaves or of a drain.
        """
        if self.closed:
            return
        self.closed, self.presented = True, ""
        if self.entered:
            assert self.caller is not None, "only identified calls enter"
            self.entered = False
            self.gateway.concurrency.leave(self.caller.client.tool_id)
        self.outcome = outcome or (problem.code if problem else "ok")
        self.refusal, self.status = problem, status
        if self.caller is None:
            self.gateway.metrics.count(f"refused_{self.outcome.lower()}")
            return
        closing.close(self, Sent(bytes_out, sent))

    async def recorded(self) -> None:
        """To be awaited between `close` and the last byte: where `LLM_CALLER_AUDIT_SYNC` is `always`, the outcome is
        on the disk then. Raises `JournalError`, but for questions about health."""
        if self.waiting is not None and not self.closed:
            await closing.wait(self, self.waiting)

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
