"""Routing is a pure choice: literals in, a plan out (contract §2)."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog import Catalog, Observation, rank
from providers.decision import Choices
from providers.errors import RoutingError
from providers.routing import Ask, Plan, able, preferred
from providers.types import ChatRequest, EmbedRequest, Message, Provider, ResponseFormat, Timeouts

TIMEOUTS = Timeouts(connect_ms=1, first_event_ms=1, idle_ms=1, total_ms=1)
HELLO = ChatRequest(messages=(Message(role="user", content="hello"),))


def provider(name: str, **more: Any) -> Provider:
    facts: dict[str, Any] = {
        "name": name,
        "kind": "openai-compatible",
        "base_url": "http://localhost/v1",
        "default_model": f"{name}-model",
        "capabilities": frozenset({"chat", "chatStream", "embed"}),
        "timeouts": TIMEOUTS,
    }
    return Provider(**(facts | more))


def catalog(*providers: Provider, **aliases: str) -> Catalog:
    return Catalog(providers={p.name: p for p in providers}, aliases=aliases)


def ask(**more: Any) -> Ask:
    return Ask(**({"capability": "chat", "request": HELLO} | more))


def plan(asked: Ask, among: Catalog, seen: Any) -> Plan:
    """As a call is planned: the choice, then what its own fields leave of it."""
    return able(asked, Choices().choose(asked, among, seen).require())[0]


def names(planned: Any) -> list[str]:
    return [target.provider.name for target in planned.targets]


def refused(asked: Ask, among: Catalog, seen: Any = None) -> tuple[str, str]:
    with pytest.raises(RoutingError) as error:
        plan(asked, among, seen or {})
    return error.value.code, error.value.reason


def test_the_highest_score_is_asked_first_and_a_default_is_worth_fifty() -> None:
    plain = provider("plain", scores={"chat": 60})
    favoured = provider("favoured", scores={"chat": 20}, defaults={"chat": "special"})
    planned = plan(ask(), catalog(plain, favoured), {})
    assert names(planned) == ["favoured", "plain"]
    assert [target.model for target in planned.targets] == ["special", "plain-model"]


def test_ties_keep_the_configured_order() -> None:
    assert names(plan(ask(), catalog(provider("b"), provider("a"), provider("c")), {})) == ["b", "a", "c"]


def test_failed_providers_come_last_and_degraded_ones_do_not() -> None:
    seen = {
        "best": Observation(status="failed", at=0),
        "second": Observation(status="degraded", at=0),
    }
    among = catalog(
        provider("best", scores={"chat": 9}), provider("second", scores={"chat": 5}), provider("third")
    )
    assert names(plan(ask(), among, seen)) == ["second", "third", "best"]


def test_disabled_keyless_foreign_and_incapable_providers_are_no_candidates() -> None:
    among = catalog(
        provider("off", enabled=False),
        provider("keyless", credential_missing="not set"),
        provider("foreign"),
        provider("incapable", capabilities=frozenset({"embed"})),
        provider("odd", kind="telepathy"),
        provider("good"),
    )
    asked = ask(allowed_providers=frozenset({"off", "keyless", "incapable", "odd", "good"}))
    assert names(plan(asked, among, {})) == ["good"]
    assert refused(ask(allowed_providers=frozenset({"keyless"})), among) == ("CONFIG", "NO_PROVIDER")


def test_a_named_provider_is_the_only_target_and_its_model_is_not_checked() -> None:
    planned = plan(ask(provider="a", model="anything/at all"), catalog(provider("a"), provider("b")), {})
    assert names(planned) == ["a"]
    assert planned.targets[0].model == "anything/at all"
    assert planned.pinned


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"enabled": False}, ("NOT_FOUND", "UNKNOWN_PROVIDER")),
        ({"capabilities": frozenset({"embed"})}, ("BAD_REQUEST", "CAPABILITY_UNSUPPORTED")),
        ({"credential_missing": "not set"}, ("CONFIG", "CREDENTIAL_MISSING")),
        ({"kind": "telepathy"}, ("CONFIG", "ADAPTER_UNKNOWN")),
    ],
)
def test_what_is_wrong_with_a_named_provider_is_said(more: dict[str, Any], expected: tuple[str, str]) -> None:
    assert refused(ask(provider="a"), catalog(provider("a", **more))) == expected


def test_an_unknown_and_a_foreign_provider_look_the_same() -> None:
    among = catalog(provider("a"))
    assert refused(ask(provider="b"), among) == refused(
        ask(provider="a", allowed_providers=frozenset()), among
    )


def test_a_model_alone_goes_to_those_whose_catalogue_has_it() -> None:
    among = catalog(provider("a", models=("m",)), provider("b"), provider("c", scores={"chat": 9}))
    seen = {"c": Observation(status="ok", at=0, models=("m",))}
    planned = plan(ask(model="m"), among, seen)
    assert names(planned) == ["c", "a"]
    assert not planned.pinned
    assert refused(ask(model="unheard"), among, seen) == ("NOT_FOUND", "UNKNOWN_MODEL")


def test_aliases_and_provider_slash_model_are_understood_and_a_slash_in_a_model_is_no_split() -> None:
    among = catalog(provider("a", models=("a/b",)), provider("b"), fast="b/tiny")
    assert [(t.provider.name, t.model) for t in plan(ask(model="fast"), among, {}).targets] == [("b", "tiny")]
    assert [(t.provider.name, t.model) for t in plan(ask(model="b/x/y"), among, {}).targets] == [("b", "x/y")]
    assert [(t.provider.name, t.model) for t in plan(ask(model="a/b"), among, {}).targets] == [("a", "a/b")]


def test_allowed_models_bind_everywhere() -> None:
    among = catalog(provider("a"), provider("b"), quick="a/hidden")
    only = frozenset({"b-model"})
    assert names(plan(ask(allowed_models=only), among, {})) == ["b"]
    for asked in ({"provider": "a"}, {"model": "a-model"}, {"model": "quick"}, {"model": "a/x"}):
        assert refused(ask(allowed_models=only, **asked), among) == ("NOT_FOUND", "UNKNOWN_MODEL")


def test_strategies() -> None:
    with_default = provider("a", defaults={"chat": "m"})
    without = provider("b")
    among = catalog(with_default, without)
    planned = plan(ask(), among, {})
    first, second = planned.targets
    assert planned.strategy(first, []) == "capability-default"
    assert planned.strategy(second, []) == "fallback", "only its defaultModel was left"
    assert planned.strategy(first, ["a"]) == "capability-default", "a retry of the same is no fallback"
    assert planned.strategy(second, ["a"]) == "fallback"
    named = plan(ask(provider="a"), among, {})
    assert named.strategy(named.targets[0], []) == "caller-override"
    named = plan(ask(provider="b", model="x"), among, {})
    assert named.strategy(named.targets[0], []) == "caller-override"


def test_a_field_the_kind_cannot_honour_moves_on_or_is_named() -> None:
    claude = provider("claude", kind="anthropic", scores={"chat": 9}, capabilities=frozenset({"chat"}))
    wanted = ChatRequest(messages=HELLO.messages, response_format=ResponseFormat(type="json_object"))
    assert names(plan(ask(request=wanted), catalog(claude, provider("b")), {})) == ["b"]
    with pytest.raises(RoutingError) as error:
        plan(ask(request=wanted), catalog(claude), {})
    assert (error.value.reason, error.value.path) == ("CAPABILITY_UNSUPPORTED", "responseFormat")
    assert (
        refused(ask(capability="embed", request=EmbedRequest(inputs=("x",))), catalog(claude))[0] == "CONFIG"
    )


_scores = st.dictionaries(st.just("chat"), st.integers(-100, 200), max_size=1)
_defaults = st.dictionaries(st.just("chat"), st.just("m"), max_size=1)
_providers = st.lists(
    st.tuples(_scores, _defaults, st.sampled_from(["ok", "failed", "degraded", None])), max_size=8
)


@given(_providers)
def test_any_order_is_by_health_then_rank_then_position(drawn: list[Any]) -> None:
    made = [
        provider(f"p{n}", scores=scores, defaults=defaults) for n, (scores, defaults, _) in enumerate(drawn)
    ]
    seen = {f"p{n}": Observation(status=status, at=0) for n, (_, _, status) in enumerate(drawn) if status}
    among = catalog(*made)
    if not made:
        assert refused(ask(), among, seen) == ("CONFIG", "NO_PROVIDER")
        return
    planned = plan(ask(), among, seen)

    def key(p: Provider) -> tuple[bool, float, int]:
        failed = p.name in seen and seen[p.name].status == "failed"
        return (failed, -rank(p, "chat"), int(p.name[1:]))

    assert names(planned) == [p.name for p in sorted(made, key=key)]
    assert preferred("chat", among, seen, None, None) == planned.targets[0].provider
