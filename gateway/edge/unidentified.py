"""What is refused before anybody has shown a token: it leaves no row in the record, so it is counted, and logged."""

import re
from collections.abc import Iterable
from typing import NamedTuple, Self
from urllib.parse import unquote

from clients.tokens import redact_tokens
from gateway.edge.identify import tokens_in
from gateway.edge.respond import Header, Scope
from gateway.errors import Problem
from telemetry.logs import JsonLog
from telemetry.logs import log as LOG
from telemetry.metrics import METRICS, Metrics

LOGGED = frozenset({"NOT_FOUND", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE", "DRAINING"})
"""Codes and reasons: what clients do by mistake, or would have been served a moment before. The rest is what scanners, and browsers that connect ahead, do all day."""
MOST_METHOD = 20
MOST_PATH = 200
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Sent(NamedTuple):
    """A request as it came. `target`: with the query, if the server left it there."""

    method: str
    target: bytes
    headers: Iterable[Header]

    @classmethod
    def of(cls, scope: Scope) -> Self:
        target = scope.get("raw_path") or scope.get("path", "").encode("utf-8", "surrogateescape")
        return cls(scope.get("method", ""), target, scope.get("headers", ()))

    def told(self) -> dict[str, str]:
        """For the log: bounded, printable, and without the query and tokens."""
        tokens = [token.decode("latin-1") for token in tokens_in(self.headers)]
        path = self.target.partition(b"?")[0].decode("latin-1")
        return {
            "method": _printable(self.method, tokens, MOST_METHOD),
            "path": _printable(path, tokens, MOST_PATH),
        }


def note_refusal(
    problem: Problem,
    call_id: str,
    peer: str,
    sent: Sent,
    *,
    event: str = "",
    metrics: Metrics = METRICS,
    log: JsonLog = LOG,
) -> None:
    """`event`: what it counts as, where the code does not say it."""
    metrics.count(event or f"refused_{problem.code.lower()}")
    if not LOGGED.isdisjoint((problem.code, problem.reason)):
        told = {"callId": call_id, "peer": peer, "status": problem.status, "code": problem.code}
        if problem.reason is not None:
            told["reason"] = problem.reason
        log.warn("Refused before the token", trace_id=call_id, metadata=told | sent.told())


def _printable(text: str, tokens: Iterable[str], most: int) -> str:
    """ASCII, `most` characters at most. A token is found whether it was escaped or not."""
    for token in ("", *tokens):
        text, _ = redact_tokens(text, token)
        decoded, hidden = redact_tokens(unquote(text, "latin-1"), token)
        text = decoded if hidden else text
    plain = text.encode("ascii", "backslashreplace").decode()
    plain = _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", plain)
    return plain if len(plain) <= most else f"{plain[: most - 3]}..."
