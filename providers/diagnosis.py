"""What went wrong with a provider, and what to do about it, in words for people. Pure.

The words name settings and states, never an address of the provider's choosing or a text that it sent.
"""

import time

from providers.catalog import Observation
from providers.errors import UpstreamError

PROBE_TIMEOUT_MS = 5_000
_SECONDS = PROBE_TIMEOUT_MS // 1000
REFUSED = "The provider refused the credential"
FAILED: dict[str, str] = {
    "UPSTREAM_UNREACHABLE": "The provider cannot be reached; is it running, and is its base URL right?",
    "UPSTREAM_DNS_FAILURE": "The host name of the base URL cannot be resolved",
    "UPSTREAM_TLS_FAILURE": "The TLS connection failed; is the certificate trusted?",
    "UPSTREAM_DISCONNECTED": "The provider closed the connection without an answer",
    "CONNECT_TIMEOUT": "No connection in time",
    "FIRST_EVENT_TIMEOUT": f"No answer within {_SECONDS} s",
    "IDLE_TIMEOUT": f"No complete answer within {_SECONDS} s",
    "TOTAL_TIMEOUT": f"No complete answer within {_SECONDS} s",
    "EGRESS_REFUSED": "The address is not allowed; see LLM_CALLER_EGRESS_ALLOW",
    "BASE_URL_INVALID": "The base URL is not valid",
    "REQUEST_NOT_SENDABLE": "The base URL or the credential has characters that cannot be sent",
}
NO_MODELS = "The provider lists no models"
_SLOW = "Look whether the provider is busy or still starting, then check again."
REMEDIES: dict[str, str] = {
    "UPSTREAM_UNREACHABLE": "Start it, or correct host and port.",
    "UPSTREAM_DNS_FAILURE": "Correct the host name, or ask whoever runs your name server.",
    "UPSTREAM_TLS_FAILURE": "Use http:// where the provider speaks no TLS; else renew its certificate or trust it.",
    "UPSTREAM_DISCONNECTED": "Look at the provider's log; often something else listens on that port.",
    "UPSTREAM_REDIRECT": "Redirects are not followed: enter the final address as the base URL.",
    "UPSTREAM_BAD_RESPONSE": "What answers there does not speak this dialect: correct the kind or the base URL. Most "
    "base URLs end in /v1.",
    "UPSTREAM_OVERSIZED": "What answers there does not speak this dialect: correct the kind or the base URL.",
    "CONNECT_TIMEOUT": "Correct host and port of the base URL; a firewall may also swallow the connection.",
    "FIRST_EVENT_TIMEOUT": _SLOW,
    "IDLE_TIMEOUT": _SLOW,
    "TOTAL_TIMEOUT": _SLOW,
    "EGRESS_REFUSED": "If it is a machine of yours, add its address or network to that setting in .env, for example "
    "192.168.1.20/32, and restart the gateway; else correct the base URL.",
    "REQUEST_NOT_SENDABLE": "Correct the base URL, or replace the key.",
    "BASE_URL_INVALID": "Correct the base URL; for example http://localhost:1234/v1",
}
_BY_CLASS = {
    "AUTH": "Replace the key where it comes from; the provider may also have locked or limited it.",
    "RATE_LIMIT": "Wait, or ask the provider for a higher limit.",
    "TEMPORARY": "The provider has a problem of its own: look at its log or status page.",
}
NO_CREDENTIAL_REMEDY = "Set it where it is expected and restart, or choose another source under Credential."
NO_KEY_FILE_REMEDY = "Put the key into {path}, readable for the gateway, and restart it, or choose another source under Credential."
NO_MODELS_REMEDY = "Load or download a model at the provider, then check again."
_OTHER_REMEDY = "Is the base URL complete? Most end in /v1."


def unwell(error: UpstreamError) -> Observation:
    """What a failed look at a provider says of it."""
    now = time.time()
    if error.status is not None:
        words = {"AUTH": REFUSED, "RATE_LIMIT": "The provider limits the rate of requests"}
        detail = f"{words.get(error.classification, 'The provider answered')} (status {error.status})"
        return Observation(status="degraded", at=now, detail=detail)
    if error.reason in FAILED:
        return Observation(status="failed", at=now, detail=FAILED[error.reason])
    return Observation(status="degraded", at=now, detail="The list of models could not be read")


def remedy(error: UpstreamError) -> str:
    """What an operator can do about it."""
    if error.reason in REMEDIES:
        return REMEDIES[error.reason]
    return _BY_CLASS.get(error.classification, _OTHER_REMEDY)


def refused_credential(seen: Observation | None) -> bool:
    """Whether the last look at a provider ended with its refusal of our key."""
    return seen is not None and seen.detail.startswith(REFUSED)
