"""The client's page and the list of clients, over Django's test client."""

import json
import time
from datetime import timedelta
from typing import Any

import pytest
from columns import too_large
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.utils import timezone
from people import ada, client, olga, queries

from clients.loader import issue, revoke
from clients.models import Client, ClientToken, MethodPermission
from clients.types import METHODS
from gateway.configfile import CLIENTS, peppers, render
from gateway.models import ConfigVersion
from providers.models import Provider

pytestmark = pytest.mark.django_db
LIST = "/admin/clients/client/"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def form(**more: Any) -> dict[str, Any]:
    content = {"capture": "off", "capture_days": "30"}
    return {"tool_id": "bob", "enabled": "on", "methods": ["chat"], **content, **more}


def token(tool_id: str = "bob", expires_in: timedelta | None = None) -> str:
    expires_at = None if expires_in is None else timezone.now() + expires_in
    return issue(tool_id, (), peppers()[0], expires_at).token_id


def granted(tool_id: str = "bob") -> list[str]:
    rows = MethodPermission.objects.filter(client__tool_id=tool_id).order_by("position", "pk")
    return [row.method for row in rows]


def page(path: str, **query: str) -> str:
    return ada().get(path, query).content.decode()


def test_a_client_is_added_with_everything_the_file_knows() -> None:
    given = form(
        methods=["models", "chat", "embed"],
        max_requests=5,
        interval_ms=1000,
        max_concurrency=2,
        allowed_networks="127.0.0.0/8\n\n10.1.0.0/16 ",
        allowed_providers="lmstudio_gpu",
        allowed_models="m-1\nm-2",
        notes="of the editors",
    )
    answer = ada().post(f"{LIST}add/", given)
    made = Client.objects.get()
    assert answer.headers["location"] == f"{LIST}{made.pk}/change/"
    assert json.loads(render(CLIENTS))["clients"] == [
        {
            "toolId": "bob",
            "allowedMethods": ["chat", "embed", "models"],
            "allowedNetworks": ["127.0.0.0/8", "10.1.0.0/16"],
            "allowedProviders": ["lmstudio_gpu"],
            "allowedModels": ["m-1", "m-2"],
            "rateLimit": {"maxRequests": 5, "intervalMs": 1000},
            "maxConcurrency": 2,
            "notes": "of the editors",
        }
    ]


def test_saving_without_a_change_leaves_the_export_as_it_is() -> None:
    made = client("bob", notes=None)
    for place, method in enumerate(("models", "embed", "chat")):
        made.permissions.create(method=method, position=place * 3)
    before, rows = render(CLIENTS), list(made.permissions.values_list("pk", "position"))
    saved = ada().post(f"{LIST}{made.pk}/change/", form(methods=["chat", "embed", "models"]))
    assert saved.status_code == 302
    assert render(CLIENTS) == before
    assert list(made.permissions.values_list("pk", "position")) == rows


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ({"notes": ""}, {}),
        ({"notes": "one\ntwo\n"}, {"notes": "one\r\ntwo\r\n"}),
        ({"allowed_providers": []}, {"allowed_providers": "(none)"}),
        ({"allowed_networks": []}, {"allowed_networks": ""}),
        ({"allowed_models": [" m ", "n"]}, {"allowed_models": " m \r\nn"}),
        ({"tool_id": " bob "}, {"tool_id": " bob "}),
    ],
)
def test_odd_values_of_a_file_survive_the_form(stored: dict[str, Any], shown: dict[str, Any]) -> None:
    made = client(**{"tool_id": "bob", **stored})
    before = render(CLIENTS)
    saved = ada().post(f"{LIST}{made.pk}/change/", form(methods=[], **shown) | shown)
    assert saved.status_code == 302
    assert render(CLIENTS) == before


def test_a_client_for_no_provider_at_all_is_told_from_one_for_any() -> None:
    made = client(allowed_providers=[])
    operator = ada()
    assert ">\n(none)</textarea>" in operator.get(f"{LIST}{made.pk}/change/").content.decode()
    operator.post(f"{LIST}{made.pk}/change/", form(allowed_providers=""))
    made.refresh_from_db()
    assert made.allowed_providers is None


def test_every_line_that_is_no_network_is_named() -> None:
    answer = ada().post(f"{LIST}add/", form(allowed_networks="10.1.0.0/16\nfoo\n300.1.1.1"))
    assert answer.context["adminform"].form.errors == {
        "allowed_networks": [
            "'foo' is not a network such as 10.1.0.0/16",
            "'300.1.1.1' is not a network such as 10.1.0.0/16",
        ]
    }


def test_a_limit_of_nothing_is_refused_in_one_sentence() -> None:
    answer = ada().post(f"{LIST}add/", form(max_requests=0, interval_ms=0, max_concurrency=0))
    said = {name: list(errors) for name, errors in answer.context["adminform"].form.errors.items()}
    once = ["At least 1, or empty."]
    assert said == {"max_requests": once, "interval_ms": once, "max_concurrency": once}
    answer = ada().post(f"{LIST}add/", form(max_requests=0, interval_ms=1000))
    assert answer.context["adminform"].form.errors == {"max_requests": once}
    assert "violated" not in answer.content.decode()


def test_methods_that_stay_keep_their_place_and_new_ones_follow() -> None:
    made = client("bob")
    for place, method in enumerate(("models", "chatStream")):
        made.permissions.create(method=method, position=place)
    ada().post(f"{LIST}{made.pk}/change/", form(methods=["getHealth", "chat", "models"]))
    assert granted() == ["models", "chat", "getHealth"]
    assert LogEntry.objects.get().get_change_message() == "Changed May call."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"max_requests": 5}, "both a number of requests and an interval"),
        ({"max_requests": 0, "interval_ms": 1000}, "At least 1, or empty."),
        ({"allowed_models": "(none)\nm"}, "(none) stands alone"),
        ({"max_requests": 2**31, "interval_ms": 1000}, too_large()),
        ({"max_concurrency": 0}, "At least 1, or empty."),
        ({"allowed_networks": "10.1.0.0/16\nnowhere"}, "is not a network such as"),
        ({"allowed_models": "m" * 501}, "At most 500 characters."),
        ({"methods": ["fly"]}, "not one of the available choices"),
        ({"tool_id": "two\twords"}, "No tabs"),
        ({"tool_id": ""}, "This field is required"),
    ],
)
def test_a_mistake_is_said_and_no_client_is_saved(change: dict[str, Any], said: str) -> None:
    answer = ada().post(f"{LIST}add/", form(**change))
    assert answer.status_code == 200
    assert said in answer.content.decode()
    assert not Client.objects.exists()


def test_the_form_names_the_providers_and_warns_of_a_name_there_is_not() -> None:
    Provider.objects.create(
        name="lmstudio_gpu", kind="lmstudio", base_url="http://localhost/v1", default_model="m"
    )
    operator = ada()
    assert "There are: lmstudio_gpu." in operator.get(f"{LIST}add/").content.decode()
    warned = operator.post(f"{LIST}add/", form(allowed_providers="lmstudio_gup"), follow=True)
    assert "There is no provider called lmstudio_gup" in warned.content.decode()
    good = operator.post(f"{LIST}add/", form(tool_id="eve", allowed_providers="lmstudio_gpu"), follow=True)
    assert "There is no provider called" not in good.content.decode()


def test_the_page_shows_each_tokens_state_and_what_can_be_done() -> None:
    made = client("bob", "chat")
    token(expires_in=timedelta(days=5, hours=1))
    token(expires_in=timedelta(seconds=-1))
    revoke(token())
    shown = page(f"{LIST}{made.pk}/change/")
    assert '<span class="state degraded">expires in 5 days</span>' in shown
    assert '<span class="state failed">expired</span>' in shown
    assert '<span class="state off">revoked</span>' in shown
    assert [shown.count(f"/{what}/") for what in ("rotate", "expiry", "revoke")] == [1, 2, 2]
    assert "DELETE" not in shown


def test_a_client_without_tokens_says_what_to_do_next() -> None:
    made = client("bob")
    shown = page(f"{LIST}{made.pk}/change/")
    assert "No token yet" in shown
    assert f"{LIST}{made.pk}/issue/" in shown


def test_a_client_with_hundreds_of_tokens_shows_the_ones_that_matter() -> None:
    made = client("bob")
    old = [token() for _ in range(60)]
    for token_id in old[:55]:
        revoke(token_id)
    shown = page(f"{LIST}{made.pk}/change/")
    assert all(token_id in shown for token_id in old[55:])
    assert "10 more" in shown
    assert ada_sees_all(made) == 60


def ada_sees_all(made: Client) -> int:
    browser = olga("view_clienttoken")
    answer = browser.get("/admin/clients/clienttoken/", {"client__id__exact": made.pk})
    count: int = answer.context["cl"].result_count
    return count


def test_tokens_and_grants_are_neither_added_changed_nor_deleted_by_stock_forms() -> None:
    client("bob", "chat")
    token()
    operator = ada()
    for table, row in (("clienttoken", ClientToken.objects.get()), ("methodpermission", granted_row())):
        base = f"/admin/clients/{table}/"
        assert operator.get(f"{base}add/").status_code == 403
        assert operator.post(f"{base}{row.pk}/delete/", {"post": "yes"}).status_code == 403
        assert operator.post(f"{base}{row.pk}/change/", {}).status_code == 403
        action = {"action": "delete_selected", "_selected_action": row.pk, "post": "yes"}
        operator.post(base, action)
    assert ClientToken.objects.count() == MethodPermission.objects.count() == 1


def granted_row() -> MethodPermission:
    return MethodPermission.objects.get()


def test_a_client_may_be_deleted_with_what_belongs_to_it() -> None:
    made = client("bob", "chat")
    token()
    browser = olga("view_client", "change_client", "delete_client")
    asked = browser.get(f"{LIST}{made.pk}/delete/").content.decode()
    assert "Are you sure" in asked
    browser.post(f"{LIST}{made.pk}/delete/", {"post": "yes"})
    assert not Client.objects.exists()
    assert not ClientToken.objects.exists()


def test_olga_may_look_and_is_offered_nothing_to_change() -> None:
    made = client("bob", "chat", "embed")
    token()
    shown = olga("view_client").get(f"{LIST}{made.pk}/change/").content.decode()
    assert "active" in shown
    assert "chat, embed" in shown
    assert not any(word in shown for word in ("/issue/", "/rotate/", "/revoke/", "/expiry/", "_save"))


def test_saving_a_client_is_one_version_of_the_configuration() -> None:
    operator = ada()
    before = ConfigVersion.objects.count()
    operator.post(f"{LIST}add/", form(methods=list(METHODS)))
    assert ConfigVersion.objects.count() == before + 1
    assert ConfigVersion.objects.first().author == "ada"  # type: ignore[union-attr]


def test_the_list_tells_tokens_limits_and_last_use() -> None:
    client("a-fine", "chat", max_requests=5000, interval_ms=60_000, max_concurrency=3)
    token("a-fine")
    client("b-ends", "chat")
    token("b-ends")
    token("b-ends", timedelta(days=3, hours=1))
    client("c-none")
    client("d-over")
    token("d-over", timedelta(seconds=-1))
    ClientToken.objects.filter(client__tool_id="a-fine").update(last_used_at="2026-01-02T03:04:05Z")
    shown = page(LIST)
    assert "5,000 per 60,000 ms, 3 at once" in shown
    assert '<span class="state ok">1 active</span>' in shown
    assert '<span class="state degraded">2 active, first ends in 3 days</span>' in shown
    assert '<span class="state failed">none</span>' in shown
    assert '<span class="state failed">none active</span>' in shown
    assert "2026-01-02 03:04" in shown
    assert "never" in shown


def test_filters_find_who_has_no_token_or_soon_none() -> None:
    client("fine", "chat")
    token("fine")
    client("ends", "chat", "embed")
    token("ends", timedelta(days=3))
    token("ends", timedelta(days=4))
    client("none", "embed", enabled=False)
    operator = ada()

    def found(**query: str) -> list[str]:
        changelist = operator.get(LIST, query).context["cl"]
        return [row.tool_id for row in changelist.result_list]

    assert found(tokens="none") == ["none"]
    assert found(tokens="soon") == ["ends"]
    assert found(permissions__method__exact="embed") == ["ends", "none"]
    assert found(permissions__method__exact="embed", tokens="soon") == ["ends"]
    assert found(enabled__exact="0") == ["none"]
    assert found(q=ClientToken.objects.filter(client__tool_id="ends")[0].token_id) == ["ends"]


def test_the_empty_list_says_what_to_do() -> None:
    assert "Add the first client" in page(LIST)


def test_a_filter_that_finds_nobody_says_so() -> None:
    client("bob")
    assert "No client is like that" in page(LIST, q="nobody")


def test_the_list_asks_as_often_for_fifty_clients_as_for_one() -> None:
    operator = ada()
    many_clients(1)
    operator.get(LIST)
    one = queries(operator, LIST)
    many_clients(49)
    assert queries(operator, LIST) == one


@pytest.mark.alone
def test_a_page_of_a_thousand_clients_comes_at_once() -> None:
    many_clients(1000)
    operator = ada()
    operator.get(LIST)
    began = time.perf_counter()
    assert operator.get(LIST).status_code == 200
    took_ms = (time.perf_counter() - began) * 1000
    print(f"the list of clients, 1,000 clients with 2 tokens each: {took_ms:.0f} ms")
    assert took_ms < 1000


def many_clients(count: int) -> None:
    start = Client.objects.count()
    made = Client.objects.bulk_create(
        Client(tool_id=f"tool-{start + n}", position=start + n) for n in range(count)
    )
    MethodPermission.objects.bulk_create(
        MethodPermission(client=row, method=method, position=place)
        for row in made
        for place, method in enumerate(METHODS)
    )
    ClientToken.objects.bulk_create(
        ClientToken(client=row, token_id=f"t-{row.pk}-{n}", key_id="k", digest=f"{row.pk * 2 + n:064x}")
        for row in made
        for n in range(2)
    )
