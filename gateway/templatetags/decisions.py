"""What a stored decision says, in words, for the page of one call."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django import template

from gateway.console import reasons
from telemetry.criteria import STATE, class_of

register = template.Library()


@register.filter
def stage_words(decision: dict[str, Any]) -> str:
    return reasons.STAGE.get(decision.get("stage", ""), "")


@register.filter
def rule_words(decision: dict[str, Any]) -> str:
    return reasons.RULE.get((decision.get("routing") or {}).get("rule", ""), "")


@register.filter
def candidates(decision: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Each considered provider with its rank and a verdict in words, in the order of trying."""
    unable, busy = decision.get("unable") or {}, decision.get("busy") or ()
    place = 0
    for one in (decision.get("routing") or {}).get("considered", ()):
        out = reasons.EXCLUDED.get(one.get("excluded", ""), one.get("excluded", ""))
        if not out and one["provider"] in unable:
            out = f"its kind cannot do “{unable[one['provider']]}”"
        place += not out
        choice = "First choice" if place == 1 else f"Choice {place}"
        if one["provider"] in busy:
            choice += ", but it had no place free"
        health = one.get("health", "unknown")
        score, bonus = one.get("score", 0), one.get("bonus", 0)
        yield one | {
            "score": score,
            "bonus": bonus,
            "rank": score + bonus,
            "state": "off" if health == "unknown" else health,
            "health": reasons.HEALTH.get(health, health),
            "verdict": f"Left out: {out}" if out else choice,
        }


class Step(NamedTuple):
    """Something that happened during a call. `at`, `took`: ms since its beginning, and of its own; None if not known.

    `sign`: a word that is marked by `state`.
    """

    words: str
    sign: str = ""
    state: str = ""
    at: int | None = None
    took: int | None = None


@register.filter
def ended_words(outcome: str) -> str:
    return reasons.ENDED.get(outcome, "")


@register.filter
def ended_state(outcome: str) -> str:
    return STATE[class_of(outcome)]


@register.filter
def steps(call: Any) -> Iterator[Step]:
    """In order. When an attempt began is not on record, only how long it took."""
    yield Step("The call was accepted.", at=0)
    for number, attempt in enumerate(call.attempts, 1):
        failure = [attempt.get("classification"), attempt.get("reason")]
        failure.append(f"status {attempt['status']}" if attempt.get("status") else None)
        told = ", ".join(str(part) for part in failure if part)
        asked = f"Attempt {number}: {attempt.get('provider')}, {attempt.get('model')}"
        yield Step(asked, told or "answered", "failed" if told else "ok", took=attempt.get("durationMs"))
    if not call.attempts:
        yield Step("No provider was asked.")
    if call.first_event_ms is not None:
        yield Step("The first event of the answer went to the client.", at=call.first_event_ms)
    if call.outcome == "UNKNOWN":
        yield Step("Nothing more is known.", call.outcome, "failed")
    else:
        yield Step("The call was over.", call.outcome, ended_state(call.outcome), at=call.duration_ms)
