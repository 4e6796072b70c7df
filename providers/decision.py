"""Why a call goes where it goes: every provider, and what speaks for or against it. Pure, like the choice itself.

`explain` asks `routing.shortlist` and adds the reasons, so that what is told is what is done.
"""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal

import msgspec

from providers.catalog import Catalog, model_for, models_of, rank
from providers.errors import RoutingError
from providers.routing import Ask, Observations, Plan, exclusion, shortlist
from providers.types import Provider, Target

SHOWN = 20
"""Candidates kept for the record. Of more, the best and their number are told."""
Rule = Literal["rank", "model", "provider"]


class Considered(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One provider. `score` and `bonus` add up to its rank; `excluded` names what kept it out."""

    provider: str
    model: str = ""
    score: float = 0
    bonus: int = 0
    health: str = "unknown"
    excluded: str | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """`considered`: those to try, in order, then those excluded. `more`: how many are not listed.

    `rule`: by rank, by the model's name, or the one provider that was named (also through an alias).
    `error`: the reason when nobody was left.
    """

    rule: Rule
    considered: tuple[Considered, ...] = ()
    more: int = 0
    error: str | None = None


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    """A shortlist, or why there is none; and the `Decision` about it as the record keeps it."""

    told: msgspec.Raw
    listed: Plan | None = None
    error: RoutingError | None = None

    def require(self) -> Plan:
        """Raises the `RoutingError`, as a new exception each time: one is raised for many calls."""
        if self.listed is None:
            error = self.error
            assert error is not None, "a choice has a shortlist or an error"
            raise RoutingError(error.code, error.reason, error.message, error.path)
        return self.listed


def explain(ask: Ask, catalog: Catalog, seen: Observations, *, shown: int = SHOWN) -> Decision:
    """What `shortlist` decides about `ask`, with the reasons. `shown`: how many providers to list at most."""
    return _decide(ask, catalog, seen, shown)[0]


def choose(ask: Ask, catalog: Catalog, seen: Observations) -> Choice:
    decision, listed, error = _decide(ask, catalog, seen, SHOWN)
    return Choice(told=msgspec.Raw(msgspec.json.encode(decision)), listed=listed, error=error)


class Choices:
    """Choices by what was asked, kept while neither catalogue nor health has changed: calls mostly ask alike."""

    KEPT = 1_000

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[object, ...], Choice] = OrderedDict()
        self._catalog: Catalog | None = None
        self._seen: Observations | None = None

    def choose(self, ask: Ask, catalog: Catalog, seen: Observations) -> Choice:
        if catalog is not self._catalog or seen is not self._seen:
            self._kept.clear()
            self._catalog, self._seen = catalog, seen
        found = self._kept.get(ask.key)
        if found is None:
            found = self._kept[ask.key] = choose(ask, catalog, seen)
            if len(self._kept) > self.KEPT:
                self._kept.popitem(last=False)
        return found


def _decide(
    ask: Ask, catalog: Catalog, seen: Observations, shown: int
) -> tuple[Decision, Plan | None, RoutingError | None]:
    try:
        listed, error = shortlist(ask, catalog, seen), None
    except RoutingError as refused:
        listed, error = None, refused
    targets = listed.targets if listed else ()
    considered = [_considered(ask, target, seen) for target in targets]
    considered += _excluded(ask, catalog, seen, listed)
    decision = Decision(
        rule=_rule(ask, listed),
        considered=tuple(considered[:shown]),
        more=max(len(considered) - shown, 0),
        error=error.reason if error else None,
    )
    return decision, listed, error


def _rule(ask: Ask, listed: Plan | None) -> Rule:
    if ask.provider is not None or (listed is not None and listed.pinned):
        return "provider"
    return "rank" if ask.model is None else "model"


def _considered(ask: Ask, target: Target, seen: Observations) -> Considered:
    provider = target.provider
    score = provider.scores.get(ask.capability, 0)
    observed = seen.get(provider.name)
    return Considered(
        provider=provider.name,
        model=target.model,
        score=score,
        bonus=round(rank(provider, ask.capability) - score),
        health=observed.status if observed else "unknown",
    )


def _excluded(ask: Ask, catalog: Catalog, seen: Observations, listed: Plan | None) -> Iterator[Considered]:
    """Providers that the rule looked at and did not take."""
    taken = {target.provider.name for target in listed.targets} if listed else set()
    if ask.provider is not None or (listed is not None and listed.pinned):
        named = catalog.providers.get(ask.provider or "")
        looked_at = [named] if named is not None else []
    else:
        looked_at = list(catalog.providers.values())
    for provider in looked_at:
        if provider.name not in taken:
            model = ask.model or model_for(provider, ask.capability)
            told = _considered(ask, Target(provider=provider, model=model), seen)
            why = exclusion(ask, provider) or _model_exclusion(ask, provider, seen)
            yield msgspec.structs.replace(told, excluded=why)


def _model_exclusion(ask: Ask, provider: Provider, seen: Observations) -> str:
    model = ask.model
    if (
        model is not None
        and ask.provider is None
        and model not in models_of(provider, seen.get(provider.name))
    ):
        return "MODEL_NOT_OFFERED"
    return "MODEL_NOT_ALLOWED"
