"""What is refused before anybody has shown a token: it leaves no row in the record, so it is counted, and logged."""

from gateway.errors import Problem
from telemetry.logs import JsonLog
from telemetry.logs import log as LOG
from telemetry.metrics import METRICS, Metrics

LOGGED = frozenset({"NOT_FOUND", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"})
"""What clients do by mistake. The rest is what scanners, and browsers that connect ahead, do all day."""


def note_refusal(
    problem: Problem, call_id: str, peer: str, *, metrics: Metrics = METRICS, log: JsonLog = LOG
) -> None:
    metrics.count(f"refused_{problem.code.lower()}")
    if problem.code in LOGGED:
        log.warn(
            "Refused before the token",
            trace_id=call_id,
            metadata={"callId": call_id, "peer": peer, "status": problem.status, "code": problem.code},
        )
