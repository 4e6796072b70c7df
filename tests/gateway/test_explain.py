"""What may this client do?: the words, the routes and the reasons."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client as Browser
from django.utils import timezone

from clients.grants import set_methods
from clients.loader import issue, revoke
from clients.models import Client
from clients.types import Client as FrozenClient
from gateway.configfile import peppers
from gateway.console.routes import Route, route
from providers.catalog import Catalog, Observation
from providers.models import Provider as ProviderRow
from providers.types import Provider, Timeouts

OK = Observation(status="ok", at=0, detail="3 models")
TIMEOUTS = Timeouts(connect_ms=1, first_event_ms=1, idle_ms=1, total_ms=1)


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def provider(name: str, **more: Any) -> Provider:
    facts = {
        "kind": "lmstudio",
        "base_url": "http://localhost/v1",
        "default_model": "m",
        "capabilities": frozenset({"chat", "embed"}),
        "timeouts": TIMEOUTS,
    }
    return Provider(name=name, **facts | more)


def frozen(**more: Any) -> FrozenClient:
    return FrozenClient(tool_id="bob", enabled=True, methods=frozenset({"chat"}), **more)


def routed(client: FrozenClient, *providers: Provider, seen: Any = None) -> Route:
    return route(client, "chat", Catalog(providers={p.name: p for p in providers}), seen or {})


def goals(found: Route) -> list[tuple[str, str]]:
    return [(goal.provider, goal.model) for goal in found.targets]


def test_the_route_is_the_one_that_a_call_takes() -> None:
    best, worse = provider("best", scores={"chat": 90}), provider("worse", defaults={"chat": "other"})
    assert goals(routed(frozen(), worse, best)) == [("best", "m"), ("worse", "other")]
    failed = {"best": Observation(status="failed", at=0)}
    assert goals(routed(frozen(), worse, best, seen=failed)) == [("worse", "other"), ("best", "m")]


def test_each_target_is_told_with_its_health_and_the_cause() -> None:
    seen = {"down": Observation(status="failed", at=0, detail="Is it running?"), "up": OK}
    found = routed(frozen(), provider("down"), provider("up"), provider("new"), seen=seen)
    health = {goal.provider: (goal.state, goal.health, goal.because) for goal in found.targets}
    assert health == {
        "down": ("failed", "failed", "Is it running?"),
        "up": ("ok", "ok", ""),
        "new": ("off", "not looked at yet", ""),
    }


def test_that_all_who_could_answer_are_down_is_an_obstacle() -> None:
    down = Observation(status="failed", at=0)
    said = "chat: every provider that could answer failed its last check."
    assert routed(frozen(), provider("a"), provider("b"), seen={"a": down, "b": down}).obstacle == said
    assert routed(frozen(), provider("a"), provider("b"), seen={"a": down}).obstacle == ""
    assert routed(frozen(), provider("a"), seen={"a": OK}).obstacle == ""
    ungranted = FrozenClient(tool_id="bob", enabled=True, methods=frozenset())
    assert routed(ungranted, provider("a"), seen={"a": down}).obstacle == ""


def test_the_strategy_is_the_one_that_an_answer_would_name() -> None:
    assert routed(frozen(), provider("p", defaults={"chat": "m"})).strategy == "capability-default"
    assert routed(frozen(), provider("p")).strategy == "fallback", "only its general default model is left"
    assert routed(frozen()).strategy is None


def test_who_is_passed_over_is_told_with_the_reason() -> None:
    found = routed(
        frozen(
            allowed_providers=frozenset({"off", "none", "keyless", "odd", "large"}),
            allowed_models=frozenset({"m"}),
        ),
        provider("off", enabled=False),
        provider("none", capabilities=frozenset({"embed"})),
        provider("keyless", credential_missing="the environment variable KEY is not set"),
        provider("odd", kind="unheard-of"),
        provider("large", default_model="xl"),
        provider("other"),
    )
    assert found.targets == []
    assert dict(found.passed_over) == {
        "off": "it is disabled",
        "none": "it does not declare this capability",
        "keyless": "its credential is not set: the environment variable KEY is not set",
        "odd": "its kind is not known here",
        "large": "this client may not use the model: xl",
        "other": "this client may not use it",
    }


def client(**more: Any) -> Client:
    made = Client.objects.create(tool_id="bob", **more)
    set_methods(made, ["chat"])
    return made


def page(made: Client) -> str:
    browser = Browser()
    browser.force_login(User.objects.get_or_create(username="ada", is_staff=True, is_superuser=True)[0])
    answer = browser.get(f"/admin/clients/client/{made.pk}/explain/")
    assert answer.status_code == 200
    return answer.content.decode().replace("&#x27;", "'")


def lmstudio() -> None:
    row = ProviderRow.objects.create(
        name="lmstudio_gpu", kind="lmstudio", base_url="http://localhost/v1", default_model="m"
    )
    row.capability_rows.create(capability="chat", declared=True)


@pytest.mark.django_db
def test_a_client_that_works_is_told_so_in_words() -> None:
    lmstudio()
    made = client(max_requests=5, interval_ms=1000, max_concurrency=1)
    issue("bob", (), peppers()[0])
    issue("bob", (), peppers()[0], timezone.now() - timedelta(days=1))
    revoke(issue("bob", (), peppers()[0]).token_id)
    shown = page(made)
    assert "Everything that it may call works." in shown
    for sentence in (
        "It is enabled.",
        "The gateway answers 127.0.0.0/8, ::1/128 (this machine only).",
        "It may call from all of them.",
        "Of its tokens, 1 active, 1 expired, 1 revoked.",
        "It may call chat.",
        "It may use any provider.",
        "5 calls in any 1,000 ms, its own limit.",
        "At most 1 at once; more are refused (429).",
        "lmstudio_gpu, m",
        'Strategy of the first: <a href="#strategies">fallback</a>',
        "A later provider answered because an earlier one failed, or the provider has no default model",
        "No gateway runs in this process",
    ):
        assert sentence in shown, sentence


@pytest.mark.django_db
def test_the_limit_of_the_environment_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_CALLER_RATE_LIMIT_MAX", "5")
    assert "5 calls in any 1,000 ms, from the environment's default." in page(client())


@pytest.mark.django_db
def test_everything_that_stands_in_the_way_is_told_with_what_to_do() -> None:
    made = client(enabled=False, allowed_networks=["10.1.0.0/16"])
    set_methods(made, [])
    shown = page(made)
    for sentence in (
        "It is disabled",
        "widen LLM_CALLER_ALLOWED_NETWORKS",
        "It has no token",
        "It may call nothing",
        "There is no provider yet",
    ):
        assert sentence in shown, sentence


@pytest.mark.django_db
def test_tokens_that_no_longer_work_and_a_grant_nobody_answers_are_told() -> None:
    made = client()
    issue("bob", (), peppers()[0], timezone.now() - timedelta(days=1))
    made.tokens.create(token_id="old", key_id="gone", digest="0" * 64)
    shown = page(made)
    assert "None of its tokens works" in shown
    assert "LLM_CALLER_TOKEN_PEPPERS no longer has" in shown
    assert "chat is granted, but no provider can answer it for this client." in shown


@pytest.mark.django_db
def test_names_among_its_providers_that_lead_nowhere_are_told() -> None:
    lmstudio()
    made = client(allowed_providers=["nosuch", "lmstudio_gpu"])
    issue("bob", (), peppers()[0])
    shown = page(made)
    assert "There is no provider called nosuch. Was it renamed or deleted" in shown
    assert "Everything that it may call works." in shown, "the other one answers"
    Client.objects.update(allowed_providers=["nosuch"])
    shown = page(made)
    assert shown.count("There is no provider called nosuch.") == 2, "in its place, and as an obstacle"
    assert "Not everything works" in shown


@pytest.mark.django_db
def test_who_may_use_none_is_told_so() -> None:
    lmstudio()
    shown = page(client(allowed_providers=[], allowed_models=[]))
    assert "It may use no provider: (none) stands among those that it may use." in shown
    assert "It may use no model: (none)" in shown
    assert "only ;" not in shown


@pytest.mark.django_db
def test_the_page_is_for_who_may_see_clients() -> None:
    made = client()
    olga = User.objects.create_user("olga", is_staff=True)
    browser = Browser()
    browser.force_login(olga)
    where = f"/admin/clients/client/{made.pk}/explain/"
    assert browser.get(where).status_code == 403
    olga.user_permissions.add(Permission.objects.get(codename="view_client"))
    assert browser.get(where).status_code == 200
    assert browser.get("/admin/clients/client/999/explain/").status_code == 404
    assert Browser().get(where).status_code == 302
