"""What is told about a choice is what was chosen, and every provider left out has its reason."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog import Catalog, Observation, rank
from providers.decision import SHOWN, Choices, Considered, choose, explain
from providers.errors import RoutingError
from providers.routing import Ask, shortlist
from providers.types import ChatRequest, Message, Provider, Timeouts

TIMEOUTS = Timeouts(connect_ms=1, first_event_ms=1, idle_ms=1, total_ms=1)
HELLO = ChatRequest(messages=(Message(role="user", content="hello"),))


def provider(name: str, **more: Any) -> Provider:
    facts: dict[str, Any] = {
        "name": name,
        "kind": "openai-compatible",
        "base_url": "http://localhost/v1",
        "default_model": "m",
        "capabilities": frozenset({"chat"}),
        "timeouts": TIMEOUTS,
    }
    return Provider(**(facts | more))


def catalog(*providers: Provider, **aliases: str) -> Catalog:
    return Catalog(providers={p.name: p for p in providers}, aliases=aliases)


def ask(**more: Any) -> Ask:
    return Ask(**({"capability": "chat", "request": HELLO} | more))


def reasons(asked: Ask, among: Catalog) -> dict[str, str | None]:
    return {one.provider: one.excluded for one in explain(asked, among, {}).considered}


def test_score_bonus_and_health_are_told_in_the_order_of_trying() -> None:
    among = catalog(
        provider("a", scores={"chat": 60}), provider("b", scores={"chat": 20}, defaults={"chat": "d"})
    )
    told = explain(ask(), among, {"a": Observation(status="degraded", at=0)})
    assert told.considered == (
        Considered(provider="b", model="d", score=20, bonus=50),
        Considered(provider="a", model="m", score=60, health="degraded"),
    )
    assert (told.rule, told.error, told.more) == ("rank", None, 0)


def test_every_provider_left_out_has_its_reason() -> None:
    among = catalog(
        provider("off", enabled=False),
        provider("others"),
        provider("embeds", capabilities=frozenset({"embed"})),
        provider("odd", kind="odd"),
        provider("keyless", credential_missing="X is not set"),
        provider("dear", default_model="dear"),
        provider("good"),
    )
    allowed = frozenset(among.providers) - {"others"}
    assert reasons(ask(allowed_providers=allowed, allowed_models=frozenset({"m"})), among) == {
        "good": None,
        "off": "DISABLED",
        "others": "NOT_ALLOWED",
        "embeds": "CAPABILITY_NOT_DECLARED",
        "odd": "KIND_UNKNOWN",
        "keyless": "CREDENTIAL_MISSING",
        "dear": "MODEL_NOT_ALLOWED",
    }


def test_of_a_named_provider_only_that_one_is_told() -> None:
    among = catalog(provider("a"), provider("b", enabled=False), fast="a/m")
    assert reasons(ask(provider="a"), among) == {"a": None}
    assert reasons(ask(provider="b"), among) == {"b": "DISABLED"}
    assert reasons(ask(provider="c"), among) == {}
    assert reasons(ask(model="fast"), among) == {"a": None}
    assert explain(ask(model="fast"), among, {}).rule == "provider"
    assert explain(ask(provider="c"), among, {}).error == "UNKNOWN_PROVIDER"


def test_of_a_named_model_those_without_it_are_told() -> None:
    among = catalog(provider("a", models=("x",)), provider("b"))
    assert reasons(ask(model="x"), among) == {"a": None, "b": "MODEL_NOT_OFFERED"}
    assert explain(ask(model="y"), among, {}).error == "UNKNOWN_MODEL"


def test_of_many_providers_the_best_are_told_and_the_rest_counted() -> None:
    told = explain(ask(), catalog(*(provider(f"p{n}", scores={"chat": n}) for n in range(SHOWN + 5))), {})
    assert (len(told.considered), told.more) == (SHOWN, 5)
    assert told.considered[0].provider == f"p{SHOWN + 4}"


_drawn = st.lists(
    st.tuples(
        st.booleans(),
        st.integers(-9, 9),
        st.booleans(),
        st.sampled_from(["ok", "failed", None]),
        st.booleans(),
    ),
    max_size=6,
)
_asked = st.tuples(
    st.sampled_from([None, "p0", "p9"]),
    st.sampled_from([None, "m", "x", "p1/m"]),
    st.sampled_from([None, "p1", "p2"]),
)


@given(_drawn, _asked)
def test_what_is_told_is_what_is_done(drawn: list[Any], asked: Any) -> None:
    among = catalog(
        *(
            provider(
                f"p{n}", enabled=on, scores={"chat": score}, defaults={"chat": "m"} if default else {},
                models=("x",) if extra else (),
            )
            for n, (on, score, default, _, extra) in enumerate(drawn)
        )
    )  # fmt: skip
    seen = {f"p{n}": Observation(status=row[3], at=0) for n, row in enumerate(drawn) if row[3]}
    named, model, only = asked
    wanted = ask(provider=named, model=model, allowed_providers=None if only is None else frozenset({only}))
    told = explain(wanted, among, seen)
    taken = [one for one in told.considered if one.excluded is None]
    if told.error is not None:
        assert taken == []
        with pytest.raises(RoutingError) as refused:
            shortlist(wanted, among, seen)
        assert refused.value.reason == told.error
        return
    targets = shortlist(wanted, among, seen).targets
    assert [(one.provider, one.model) for one in taken] == [(t.provider.name, t.model) for t in targets]
    assert [one.score + one.bonus for one in taken] == [rank(t.provider, "chat") for t in targets]


def test_a_choice_is_kept_until_catalogue_or_health_change() -> None:
    kept, among, seen = Choices(), catalog(provider("a")), {"a": Observation(status="ok", at=0)}
    first = kept.choose(ask(), among, seen)
    assert kept.choose(ask(), among, seen) is first
    assert kept.choose(ask(model="m"), among, seen) is not first
    assert kept.choose(ask(), among, dict(seen)) is not first
    assert kept.choose(ask(), catalog(provider("b")), seen).require().targets[0].provider.name == "b"


def test_no_more_choices_are_kept_than_agreed() -> None:
    kept, among, seen = Choices(), catalog(provider("a")), dict[str, Observation]()
    for n in range(Choices.KEPT + 50):
        kept.choose(ask(model=f"m{n}"), among, seen)
    assert len(kept._kept) == Choices.KEPT


def test_a_refusal_is_raised_anew_each_time_and_its_reasons_are_kept() -> None:
    refused = choose(ask(provider="c"), catalog(provider("a")), {})
    raised = []
    for _ in range(2):
        with pytest.raises(RoutingError) as error:
            refused.require()
        raised.append(error.value)
    assert raised[0] is not raised[1]
    assert msgspec.json.decode(refused.told) == {"rule": "provider", "error": "UNKNOWN_PROVIDER"}
