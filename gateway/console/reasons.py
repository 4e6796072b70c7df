"""What the codes in a decision mean, in words for people. One place for the playground, the record and the pages that explain."""

from providers.decision import Rule
from providers.routing import Strategy

EXCLUDED: dict[str, str] = {
    "DISABLED": "it is disabled",
    "NOT_ALLOWED": "this client may not use it",
    "CAPABILITY_NOT_DECLARED": "it does not declare this capability",
    "KIND_UNKNOWN": "its kind is not known here",
    "CREDENTIAL_MISSING": "its credential is not set",
    "MODEL_NOT_OFFERED": "it does not offer the model",
    "MODEL_NOT_ALLOWED": "this client may not use the model",
}
STAGE: dict[str, str] = {
    "permission": "Refused before the request was read: this client may not make such a call.",
    "body": "Refused because the request is not valid. No provider was asked.",
    "routing": "Refused because no provider can take the call. None was asked.",
    "limits": "Refused because a limit of the client is reached. No provider was asked.",
    "record": "Refused because the call could not be recorded. No provider was asked.",
    "outcome": "A provider was asked, but its answer was withheld: the end of the call could not be recorded.",
    "attempts": "It was passed on, and every attempt failed or it ended early.",
}
METHOD_REFUSED = (
    "Refused before the request was read: it came with another HTTP method. No provider was asked."
)
BEFORE_THE_REQUEST = "It ended before the request was read. No provider was asked."
AFTER_THE_FIRST_EVENT = "It was passed on; its answer had begun when it ended."
"""What the stage alone does not tell."""
RULE: dict[Rule, str] = {
    "rank": "Nobody was named: the highest score wins, plus 50 where the capability has a default model; failed "
    "providers come last.",
    "model": "A model was named: providers that offer it, by score.",
    "provider": "One provider was named, directly or through an alias: it alone is asked.",
}
STRATEGY: dict[Strategy, str] = {
    "capability-default": "the first choice answered, with its default model for the capability",
    "caller-override": "the caller named the provider or the model",
    "fallback": "a later provider answered because an earlier one failed, or the provider has no default model for "
    "the capability, so that its general default model was taken",
}
ENDED: dict[str, str] = {
    "ok": "Served: the client was sent the whole answer.",
    "BAD_REQUEST": "Refused: the request was not valid.",
    "FORBIDDEN": "Refused: the client may not make such a call.",
    "NOT_FOUND": "Refused: it named a provider or model that is not there for this client.",
    "METHOD_NOT_ALLOWED": "Refused: it was sent with another HTTP method.",
    "RATE_LIMIT": "Refused by a limit: the client's here, or the provider's.",
    "OVERLOADED": "Refused: too much was under way.",
    "AUDIT_UNAVAILABLE": "Not answered: the call could not be recorded when it was to be.",
    "TEMPORARY": "Failed: no provider that was asked could answer.",
    "PERMANENT": "Failed: the provider rejected the request.",
    "AUTH": "Failed: the provider did not accept our credential.",
    "CONFIG": "Failed: no provider is configured that could answer.",
    "DEADLINE_EXCEEDED": "Failed: the time for it was over.",
    "INTERNAL_ERROR": "Failed: a defect of the gateway; its log has the details.",
    "UNKNOWN": "Not known: the gateway's process died during the call. What was intended is on record.",
    "CLIENT_CLOSED": "Broken off: the client closed the connection.",
    "DRAINED": "Broken off: the gateway was stopped.",
}
"""How a call ended, by its outcome."""
MIDWAY: dict[str, str] = {
    "TEMPORARY": "Failed: the provider's answer broke off midway. The client had been sent what came until then.",
    "PERMANENT": "Failed: the provider ended its answer with an error. The client had been sent what came until then.",
    "DEADLINE_EXCEEDED": "Failed: the time for it was over, midway in the answer. The client had been sent what came "
    "until then.",
}
"""The same, of a stream of which the client had been sent something."""
HEALTH: dict[str, str] = {
    "ok": "ok",
    "degraded": "degraded",
    "failed": "failed",
    "unknown": "not looked at yet",
}


def words() -> dict[str, dict[str, str]]:
    """For scripts."""
    return {
        "excluded": EXCLUDED,
        "stage": STAGE,
        "rule": {str(key): text for key, text in RULE.items()},
        "strategy": {str(key): text for key, text in STRATEGY.items()},
        "health": HEALTH,
    }
