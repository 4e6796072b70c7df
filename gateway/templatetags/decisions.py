"""What a stored decision says, in words, for the page of one call."""

from collections.abc import Iterator
from typing import Any

from django import template

from gateway.console import reasons

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
    unable = decision.get("unable") or {}
    place = 0
    for one in (decision.get("routing") or {}).get("considered", ()):
        out = reasons.EXCLUDED.get(one.get("excluded", ""), one.get("excluded", ""))
        if not out and one["provider"] in unable:
            out = f"its kind cannot do “{unable[one['provider']]}”"
        place += not out
        health = one.get("health", "unknown")
        score, bonus = one.get("score", 0), one.get("bonus", 0)
        yield one | {
            "score": score,
            "bonus": bonus,
            "rank": score + bonus,
            "state": "off" if health == "unknown" else health,
            "health": reasons.HEALTH.get(health, health),
            "verdict": f"Left out: {out}" if out else "First choice" if place == 1 else f"Choice {place}",
        }
