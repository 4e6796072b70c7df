"""What a stored decision says, in words, for the page of one call."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django import template
from django.utils.html import format_html, format_html_join

from gateway.console import reasons
from gateway.console.told import Decision, Told
from gateway.console.told import told as read
from gateway.invisible import parts
from telemetry.criteria import NOT_THE_FIRST, STATE, class_of

register = template.Library()


@register.filter
def told(call: Any) -> Told:
    return read(call)


@register.filter
def stage_words(call: Any, decision: Decision) -> str:
    """A call enters with the first stage, and may end there for other reasons than that stage's own."""
    if decision.stage == "permission" and call.outcome != "FORBIDDEN":
        of_method = call.outcome == "METHOD_NOT_ALLOWED"
        return reasons.METHOD_REFUSED if of_method else reasons.BEFORE_THE_REQUEST
    if decision.stage == "attempts" and call.first_event_ms is not None:
        return reasons.AFTER_THE_FIRST_EVENT
    return reasons.STAGE.get(decision.stage, "")


@register.filter
def strategy_words(strategy: str) -> str:
    """What no release knows stands as it is."""
    return reasons.STRATEGY.get(strategy, strategy)  # type: ignore[call-overload]


@register.filter
def strategy_shortly(strategy: str) -> str:
    return NOT_THE_FIRST.get(strategy, "")


@register.filter
def is_unreported(call: Any) -> bool:
    """Whether a model answered and its provider said nothing of tokens. The row has 0 for both, then."""
    return bool(call.strategy) and not call.input_tokens and not call.output_tokens


@register.filter
def visible(text: Any) -> str:
    """With an escape for each character that nobody sees."""
    found = list(parts(str(text)))
    if not any(part.hidden for part in found):
        return str(text)
    marked = (
        format_html('<span class="escape">{}</span>', part.text) if part.hidden else part.text
        for part in found
    )
    return format_html_join("", "{}", ((part,) for part in marked))


@register.filter
def rule_words(decision: Decision) -> str:
    return reasons.RULE.get(decision.routing.rule, "") if decision.routing else ""


@register.filter
def candidates(decision: Decision) -> Iterator[dict[str, Any]]:
    """Each considered provider with its rank and a verdict in words, in the order of trying."""
    place = 0
    for one in decision.routing.considered if decision.routing else ():
        out = reasons.EXCLUDED.get(one.excluded or "", one.excluded or "")
        if not out and one.provider in decision.unable:
            out = f"its kind cannot do “{decision.unable[one.provider]}”"
        place += not out
        choice = "First choice" if place == 1 else f"Choice {place}"
        if one.provider in decision.busy:
            choice += ", but it had no place free"
        yield {
            "provider": one.provider,
            "model": one.model,
            "score": one.score,
            "bonus": one.bonus,
            "rank": one.score + one.bonus,
            "state": "off" if one.health == "unknown" else one.health,
            "health": reasons.HEALTH.get(one.health, one.health),
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
def ended_words(call: Any) -> str:
    told = reasons.ENDED.get(call.outcome, "")
    return reasons.MIDWAY.get(call.outcome, told) if call.first_event_ms is not None else told


@register.filter
def ended_state(outcome: str) -> str:
    return STATE[class_of(outcome)]


@register.filter
def steps(call: Any) -> Iterator[Step]:
    """In order. When an attempt began is not on record, only how long it took."""
    yield Step("The call was accepted.", at=0)
    known = read(call)
    for number, attempt in enumerate(known.attempts, 1):
        failure = [attempt.classification, attempt.reason]
        failure.append(f"status {attempt.status}" if attempt.status else None)
        words = ", ".join(part for part in failure if part)
        asked = f"Attempt {number}: {attempt.provider}, {attempt.model}"
        yield Step(asked, words or "answered", "failed" if words else "ok", took=attempt.duration_ms)
    if "attempts" in known.odd:
        yield Step("Whom it asked cannot be read.")
    elif not known.attempts:
        yield Step("No provider was asked.")
    if call.first_event_ms is not None:
        yield Step("The first event of the answer went to the client.", at=call.first_event_ms)
    if call.outcome == "UNKNOWN":
        yield Step("Nothing more is known.", call.outcome, "failed")
    else:
        yield Step("The call was over.", call.outcome, ended_state(call.outcome), at=call.duration_ms)
