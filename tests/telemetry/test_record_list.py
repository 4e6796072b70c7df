"""The list of calls as Olga, an auditor, sees it: filters, pages, errors at their fields, and what is read for it."""

import re

import pytest
from calls import NOW, call, store
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.db import connection
from django.test import Client as Browser
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from telemetry.criteria import Place
from telemetry.filter_form import read_query
from telemetry.models import SavedFilter
from telemetry.record_admin import links
from telemetry.search import PAGE, Found

pytestmark = pytest.mark.django_db
LIST = "/admin/telemetry/requestlog/"
LIVE = f"{LIST}live/"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


@pytest.fixture
def olga() -> Browser:
    user = User.objects.create_user("olga", "", "olga's password 1", is_staff=True)
    user.groups.add(Group.objects.get(name="auditors"))
    browser = Browser()
    browser.force_login(user)
    return browser


def words(browser: Browser, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def requests_on(page: str) -> int:
    return page.count('<th scope="row">')


def link(page: str, text: str) -> str:
    found = re.search(rf'href="([^"]*)">{text}</a>', page)
    assert found, f"no link {text}"
    return LIST + found[1].replace("&amp;", "&").removeprefix(LIST)


def test_pages_lead_to_older_calls_and_back(olga: Browser) -> None:
    store(*(call(n) for n in range(2 * PAGE + 20)))
    first = words(olga, LIST)
    assert requests_on(first) == PAGE
    assert ">Newer<" not in first
    second = words(olga, link(first, "Older"))
    third = words(olga, link(second, "Older"))
    assert (requests_on(second), requests_on(third)) == (PAGE, 20)
    assert ">Older<" not in third
    assert f"{NOW:%Y-%m-%d %H:%M:%S}" in words(olga, link(third, "Newest"))
    back = words(olga, link(third, "Newer"))
    assert [words(olga, link(one, "Newer")).count(">Newer<") for one in (back,)] == [0]
    assert re.findall("requestlog/[0-9]+/", back) == re.findall("requestlog/[0-9]+/", second)


def test_the_links_keep_the_filter(olga: Browser) -> None:
    store(*(call(n, tool_id="b&b" if n % 2 else "eve") for n in range(2 * PAGE + 20)))
    page = words(olga, f"{LIST}?client=b%26b")
    assert "Client b&amp;b, newest first" in page
    older = words(olga, link(page, "Older"))
    assert requests_on(older) == 10
    assert "eve</td>" not in page + older


@pytest.mark.parametrize(
    "query",
    [
        "period=1h", "since=2026-03-01&until=2026-04-01", "client=charlie", "token=tok-c", "provider=cpu", "model=m2",
        "method=embed", "outcome=TEMPORARY", "outcome=failed", "request=wanted", "trace=wanted-trace", "peer=10.0.0.9",
        "config=9", "asked=tpu", "strategy=fallback", "reason=at_once", "spot=c%2342", "asked=tpu&period=1h",
        "client=charlie&provider=cpu&outcome=failed&peer=10.0.0.9",
    ],
)  # fmt: skip
def test_each_filter_finds_what_is_like_that_and_nothing_else(olga: Browser, query: str) -> None:
    hidden = NOW.replace(year=2025)
    store(*(call(n, started_at=hidden) for n in range(3)))
    store(call(
        10, request_id="wanted", tool_id="charlie", token_id="tok-c", provider="cpu", model="m2", method="embed",
        outcome="TEMPORARY", trace_id="wanted-trace", peer="10.0.0.9", config_version=9, strategy="fallback",
        attempts=[{"provider": "tpu"}, {"provider": "cpu"}], reason="TOO_MANY_AT_ONCE", chain="c", sequence=42,
        started_at=timezone.now() if "period" in query else NOW,
    ))  # fmt: skip
    page = words(olga, f"{LIST}?{query}")
    assert requests_on(page) == 1
    assert "charlie</td>" in page


def test_a_call_is_found_by_its_id_with_and_without_dashes(olga: Browser) -> None:
    wanted = call(3)
    store(call(1), call(2), wanted)
    for text in (str(wanted.call_id), wanted.call_id.hex):
        assert requests_on(words(olga, f"{LIST}?trace={text}")) == 1
    assert requests_on(words(olga, f"{LIST}?trace={wanted.call_id}&client=eve")) == 0


@pytest.mark.parametrize(
    ("query", "said", "kept"),
    [
        ("since=yesterday", "Write a date and time as", 'value="yesterday"'),
        ("outcome=odd", "Select a valid choice", ""),
        ("q=bob", "not known here: q", ""),
        ("older=nowhere", "names no place in the list", ""),
        ("client=%00", "Null characters are not allowed", ""),
        ("client=bob&period=1h&until=2026-01-01", "not both", 'value="2026-01-01"'),
    ],
)
def test_a_filter_that_cannot_be_read_shows_nothing_and_keeps_what_was_typed(
    olga: Browser, query: str, said: str, kept: str
) -> None:
    store(call())
    page = words(olga, f"{LIST}?{query}")
    assert said in page
    assert "so nothing is shown" in page
    assert requests_on(page) == 0
    assert kept in page


def test_what_is_typed_is_shown_as_text(olga: Browser) -> None:
    store(call(tool_id="<b>eve</b>"))
    page = words(olga, f"{LIST}?client=%3Cb%3Eeve%3C%2Fb%3E")
    assert requests_on(page) == 1
    assert "<b>eve" not in page
    assert "<script>x" not in words(olga, f"{LIST}?%3Cscript%3Ex=1&since=%22%3E%3Cscript%3Ex")


def test_a_search_that_stopped_on_its_way_offers_to_keep_looking() -> None:
    place = Place(NOW, call().call_id)
    form = read_query("client=bob&outcome=refused")
    assert form.is_valid()
    told = links(form, Found([], looked_to=place))
    assert told == {"on": f"?client=bob&outcome=refused&older={place.encode()}"}
    assert links(form, Found([call()], more=True, looked_to=None)).keys() == {"older"}


def test_an_empty_list_says_why(olga: Browser) -> None:
    assert "No call has been recorded yet." in words(olga, LIST)
    store(call())
    assert "No call is like that." in words(olga, f"{LIST}?client=nobody")
    behind = Place(NOW.replace(year=2020), call().call_id).encode()
    assert "no more calls in this direction" in words(olga, f"{LIST}?older={behind}")


def test_a_list_of_fifty_is_read_without_counting_or_skipping(olga: Browser) -> None:
    def statements(path: str) -> list[str]:
        with CaptureQueriesContext(connection) as captured:
            words(olga, path)
        return [query["sql"] for query in captured if "requestlog" in query["sql"]]

    store(*(call(n) for n in range(60)))
    older = link(words(olga, LIST), "Older")
    for path in (LIST, older, f"{LIST}?client=bob", f"{LIST}?client=bob&outcome=served&period=30d"):
        said = " ".join(statements(path)).upper()
        assert said
        assert not re.search(r"\bCOUNT\(|\bOFFSET\b", said)
    assert len(statements(LIST)) == len(statements(older)) == 1


def test_the_page_costs_as_many_queries_with_a_hundred_filters_saved(olga: Browser) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as captured:
            words(olga, LIST)
        return len(captured)

    few = queries()
    user = User.objects.get(username="olga")
    SavedFilter.objects.bulk_create(
        SavedFilter(owner=user, name=f"f-{n}", query="client=x") for n in range(100)
    )
    assert queries() == few


def test_the_list_is_read_only(olga: Browser) -> None:
    store(call())
    assert olga.post(LIST, {"action": "delete_selected", "_selected_action": "1"}).status_code == 302
    assert requests_on(words(olga, LIST)) == 1


@pytest.mark.parametrize("path", [LIST, LIVE, f"{LIST}filters/"])
def test_who_may_not_read_the_record_sees_none_of_its_pages(path: str) -> None:
    eve = Browser()
    eve.force_login(User.objects.create_user("eve", "", "eve's password 1", is_staff=True))
    assert eve.get(path).status_code == 403
    assert Browser().get(path).status_code == 302


def test_the_live_page_carries_the_filter(olga: Browser) -> None:
    page = words(olga, f"{LIVE}?client=bob&outcome=failed&older=")
    assert '"tail": "/admin/telemetry/requestlog/tail?client=bob\\u0026outcome=failed"' in page
    assert "Client bob, outcome failed." in page
    bad = olga.get(f"{LIVE}?since=x")
    assert (bad.status_code, b"live.js" in bad.content) == (400, False)


def test_a_filter_that_is_none_is_told_on_the_page(olga: Browser) -> None:
    assert "not one of the available choices" in words(olga, f"{LIST}?period=2h")


def test_the_list_tells_reasons_and_what_was_no_first_choice(olga: Browser) -> None:
    store(
        call(1, outcome="RATE_LIMIT", reason="TOO_MANY_AT_ONCE"),
        call(2, strategy="fallback", input_tokens=3),
        call(3, strategy="caller-override"),
        call(4, strategy="capability-default", output_tokens=2),
    )
    page = words(olga, LIST)
    assert '<span class="quiet">TOO_MANY_AT_ONCE</span>' in page
    assert page.count("as a fallback") == page.count("named by the caller</span>") == 1
    assert page.count("> – </td>") + page.count(">–</td>") == 2, "one reported nothing"


def test_names_with_characters_that_nobody_sees_are_marked_in_the_list(olga: Browser) -> None:
    store(call(tool_id="bob\u200b", model="m\u202e"))
    page = words(olga, LIST)
    assert 'bob<span class="escape">\\u200b</span></td>' in page
    assert 'm<span class="escape">\\u202e</span></td>' in page


def test_a_call_that_only_passed_through_a_provider_is_found(olga: Browser) -> None:
    attempts = [{"provider": "tpu", "classification": "TEMPORARY"}, {"provider": "gpu"}]
    store(call(1, attempts=attempts), call(2, attempts=[{"provider": "gpu"}]))
    missed = words(olga, f"{LIST}?provider=tpu")
    assert requests_on(missed) == 0
    assert "“Provider asked at all” finds them too." in missed
    assert requests_on(words(olga, f"{LIST}?asked=tpu")) == 1
    assert requests_on(words(olga, f"{LIST}?asked=gpu")) == 2


def test_calls_of_models_are_listed_without_questions_about_health(olga: Browser) -> None:
    store(
        *(
            call(n, method=method)
            for n, method in enumerate(("chat", "getHealth", "embed", "models", "chatStream"))
        )
    )
    page = words(olga, f"{LIST}?method=of-models")
    assert requests_on(page) == 3
    assert "getHealth</td>" not in page


def test_an_empty_list_says_what_may_have_been_meant(olga: Browser) -> None:
    store(call(tool_id="bob", trace_id="a" * 32))
    assert "There is no client called “BOB”" in words(olga, f"{LIST}?client=BOB")
    assert "no client called" not in words(olga, f"{LIST}?client=bob&outcome=failed")
    assert "The trace of a traceparent (W3C) is not found here" in words(olga, f"{LIST}?trace={'b' * 32}")
    assert "traceparent" not in words(olga, f"{LIST}?trace={'a' * 32}")
    assert "traceparent" not in words(olga, f"{LIST}?trace=t-9")


def test_the_export_begins_with_the_filter_of_the_list(olga: Browser) -> None:
    store(call())
    query = "since=2026-03-01T02:00%2B02:00&client=b%26b+&outcome=failed"
    page = words(olga, link(words(olga, f"{LIST}?{query}"), "Export").replace(LIST, "", 1))
    assert 'value="2026-03-01 00:00:00"' in page
    assert 'value="b&amp;b "' in page
    assert "is left out: outcome failed." in page
    page = words(olga, link(words(olga, f"{LIST}?period=7d"), "Export").replace(LIST, "", 1))
    assert re.search(r'name="since" value="20\d\d-\d\d-\d\d \d\d:\d\d:\d\d"', page)
    assert "is left out" not in page
    page = words(olga, link(words(olga, LIST), "Export").replace(LIST, "", 1))
    assert "is left out" not in page
    assert "all of it, as it cannot be read" in words(olga, "/admin/record/export/?filter=since%3Dnever")
