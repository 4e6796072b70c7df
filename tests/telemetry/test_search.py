"""The record by keyset: what is found and in which order, and that nothing is counted or skipped on the way."""

import re
import uuid
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from calls import NOW, call, store
from django.db import connection
from django.test.utils import CaptureQueriesContext

from telemetry import search
from telemetry.criteria import CLASSES, Criteria, Detail, Place, Term
from telemetry.models import RequestLog
from telemetry.search import PAGE, STRETCH, Found, find

pytestmark = pytest.mark.django_db


def like(**columns: Any) -> Criteria:
    return Criteria(terms=tuple(Term(name, (value,)) for name, value in columns.items()))


def pages(criteria: Criteria, **more: float) -> Iterator[Found]:
    """From the newest on, as the links lead."""
    place = None
    while True:
        found = find(criteria, place, **more)
        yield found
        if found.more:
            place = place_of(found.rows[-1])
        elif found.looked_to:
            place = found.looked_to
        else:
            return


def place_of(row: RequestLog) -> Place:
    return Place(row.started_at, row.call_id)


def ids(rows: Any) -> list[uuid.UUID]:
    return [row.call_id for row in rows]


def expected(criteria: Criteria) -> list[uuid.UUID]:
    rows = RequestLog.objects.order_by("-started_at", "-call_id").values()
    return [row["call_id"] for row in rows if criteria.matches(row)]


def mixed(count: int = 400) -> None:
    """Each dimension in another rhythm, and pairs that never meet; some calls of one moment."""
    store(
        *(
            call(
                n,
                started_at=NOW - timedelta(seconds=n // 7),
                tool_id=("bob", "charlie", "bob", "eve")[n % 4],
                provider="" if n % 2 else "gpu",
                outcome="RATE_LIMIT" if n % 2 else ("ok", "TEMPORARY", "CLIENT_CLOSED")[n % 3],
                chain="c",
                sequence=n + 1,
                method="embed" if n % 5 else "chat",
                model="chat-model" if n % 5 == 0 else "embed-model",
                request_id="same" if n % 3 else f"r-{n}",
                config_version=1 + n // 100,
                attempts=[
                    {"provider": name} for name in (("gpu",), ("gpu", "cpu"), ())[n % 9 % 3 if n % 2 else 0]
                ],
                strategy=("capability-default", "fallback", "")[n % 3],
                reason="TOO_MANY_AT_ONCE" if n % 11 == 0 else "",
            )
            for n in range(count)
        )
    )


QUESTIONS = [
    Criteria(),
    like(tool_id="bob"),
    like(tool_id="nobody"),
    like(tool_id="eve", outcome="ok"),
    like(outcome="RATE_LIMIT", provider="gpu"),
    like(method="embed", model="chat-model"),
    like(tool_id="charlie", method="embed", request_id="same", config_version=2),
    Criteria(terms=(Term("outcome", CLASSES["refused"]),)),
    Criteria(terms=(Term("outcome", CLASSES["failed"]), Term("method", ("embed",)))),
    Criteria(terms=(Term("outcome", CLASSES["broken-off"]), Term("provider", ("",)))),
    Criteria(since=NOW - timedelta(seconds=30), until=NOW - timedelta(seconds=5), terms=(Term("method", ("embed",)),)),
    Criteria(details=(Detail("asked", "cpu"),)),
    Criteria(details=(Detail("asked", "nobody"),)),
    Criteria(terms=(Term("tool_id", ("eve",)),), details=(Detail("asked", "gpu"), Detail("strategy", "fallback"))),
    Criteria(terms=(Term("outcome", CLASSES["refused"]),), details=(Detail("reason", "at_once"),)),
    Criteria(since=NOW - timedelta(seconds=30), details=(Detail("reason", "%"),)),
    Criteria(trace=str(uuid.UUID(int=10**9 - 17)), details=(Detail("asked", "cpu"),)),
    Criteria(terms=(Term("chain", ("c",)), Term("sequence", (8,))), details=(Detail("asked", "gpu"),)),
    Criteria(trace="t-17"),
    Criteria(trace=str(uuid.UUID(int=10**9 - 17))),
    Criteria(trace=str(uuid.UUID(int=5)), terms=(Term("tool_id", ("bob",)),)),
]  # fmt: skip


@pytest.mark.parametrize("criteria", QUESTIONS)
def test_page_by_page_all_that_is_like_that_comes_once_and_in_order(criteria: Criteria) -> None:
    mixed()
    came = [row for found in pages(criteria) for row in found.rows]
    assert ids(came) == expected(criteria)


@pytest.mark.parametrize("criteria", QUESTIONS)
def test_a_search_that_stops_on_its_way_goes_on_where_it_stopped(criteria: Criteria) -> None:
    mixed(2 * STRETCH + 300)
    came = list(pages(criteria, budget_s=0))
    assert ids(row for found in came for row in found.rows) == expected(criteria)
    if criteria == like(outcome="RATE_LIMIT", provider="gpu"):
        assert [found.rows for found in came] == [[]] * len(came)
        assert len(came) > 1


@pytest.mark.parametrize("older", [True, False])
@pytest.mark.parametrize("criteria", QUESTIONS)
def test_a_search_that_read_to_the_end_says_so_however_long_it_took(criteria: Criteria, older: bool) -> None:
    mixed(60)
    found = find(criteria, older=older, budget_s=0)
    assert found.looked_to is None
    assert found == find(criteria, older=older)


@pytest.mark.parametrize("criteria", [Criteria(), like(method="embed"), like(method="embed", tool_id="bob")])
def test_the_way_back_leads_through_the_same_pages(criteria: Criteria) -> None:
    mixed()
    there = list(pages(criteria))
    assert len(there) > 2
    for before, after in pairwise(there):
        back = find(criteria, place_of(after.rows[0]), older=False)
        assert ids(back.rows) == ids(before.rows)
        assert back.more == (before is not there[0])


def test_a_call_that_comes_meanwhile_moves_no_page() -> None:
    mixed(120)
    first = find(Criteria())
    store(call(-5, call_id=uuid.uuid4()))
    second = find(Criteria(), place_of(first.rows[-1]))
    assert ids(first.rows + second.rows) == expected(Criteria())[1 : 2 * PAGE + 1]


@pytest.mark.parametrize("criteria", QUESTIONS)
def test_nothing_is_counted_and_nothing_skipped(criteria: Criteria) -> None:
    mixed()
    with CaptureQueriesContext(connection) as captured:
        for found in pages(criteria):
            if found.rows:
                find(criteria, place_of(found.rows[-1]), older=False)
    said = " ".join(query["sql"] for query in captured).upper()
    assert not re.search(r"\bCOUNT\b|\bOFFSET\b", said)
    assert all("LIMIT" in query["sql"] for query in captured)


@pytest.mark.parametrize("older", [True, False])
def test_each_side_has_one_bound_however_long_the_search(older: bool) -> None:
    """Of several on one side SQLite seeks by one, and steps over all rows between it and the others."""
    mixed(4 * STRETCH)
    never = (Term("outcome", ("RATE_LIMIT",)), Term("provider", ("gpu",)))
    criteria = Criteria(since=NOW - timedelta(days=1), until=NOW + timedelta(seconds=1), terms=never)
    with CaptureQueriesContext(connection) as captured:
        assert find(criteria, older=older, budget_s=60) == Found([])
    assert len(captured) > 4
    for query in captured:
        told = re.sub(r"\([^()]* OR [^()]*\)", "", query["sql"])
        assert len(re.findall(r'"started_at" <', told)) <= 1, query["sql"]
        assert len(re.findall(r'"started_at" >', told)) <= 1, query["sql"]


@pytest.mark.parametrize("older", [True, False])
def test_a_place_outside_the_period_is_as_good_as_its_end(older: bool) -> None:
    mixed(120)
    criteria = Criteria(since=NOW - timedelta(seconds=12), until=NOW - timedelta(seconds=3))
    far = timedelta(seconds=60)
    before, behind = Place(NOW - far, uuid.UUID(int=0)), Place(NOW + far, uuid.UUID(int=0))
    near, beyond = (behind, before) if older else (before, behind)
    assert ids(find(criteria, near, older=older).rows) == ids(find(criteria, older=older).rows) != []
    assert find(criteria, beyond, older=older) == Found([])


def test_the_columns_with_long_texts_stay_in_the_database() -> None:
    store(call())
    with CaptureQueriesContext(connection) as captured:
        find(Criteria())
    (query,) = captured
    assert not [column for column in search.LEFT_OUT if f'"{column}"' in query["sql"]]


@pytest.mark.parametrize(
    "terms", [{"tool_id": "bob", "outcome": "ok"}, {"config_version": 3, "peer": "127.0.0.1"}]
)
def test_of_two_filters_the_rarer_is_followed_and_the_other_looked_at_beside_it(
    terms: dict[str, Any],
) -> None:
    rare, frequent = terms
    store(
        *(
            call(n, **(terms if n % 50 == 0 else {**terms, rare: 1 if rare == "config_version" else "else"}))
            for n in range(2000)
        )
    )
    with CaptureQueriesContext(connection) as captured:
        found = find(like(**terms))
    assert len(found.rows) == 40
    read = [query["sql"] for query in captured if "MIN(" not in query["sql"]]
    assert all(f'"{rare}" = ' in sql for sql in read)
    assert not [
        sql for sql in read if re.search(rf'(?<![+(])"telemetry_requestlog"."{frequent}" (=|IN)', sql)
    ]


def test_a_filter_is_read_off_its_index() -> None:
    if connection.vendor != "sqlite":
        pytest.skip("PostgreSQL plans by statistics, and reads a small table whole")
    store(call())
    for column in (
        "tool_id",
        "token_id",
        "provider",
        "model",
        "method",
        "outcome",
        "request_id",
        "trace_id",
        "peer",
    ):
        rows = RequestLog.objects.filter(**{column: "x"}).order_by("-started_at", "-call_id")[:51]
        plan = rows.explain()
        assert f"record_{column}_at" in plan, plan
        assert "FOR ORDER BY" not in plan.replace("FOR LAST TERM OF ORDER BY", ""), plan


def test_what_no_json_is_asked_nobody() -> None:
    """A row that somebody changed does not keep the others from being found."""
    mixed(60)
    wanted = expected(criteria := Criteria(details=(Detail("asked", "cpu"),)))
    assert wanted
    odd = ['"cpu"', "5", '{"provider": "x"}', "[[]]", '["cpu"]', "null", '[{"provider": ["cpu"]}]']
    # What a text of PostgreSQL's cannot hold, or none of its numbers.
    odd += [
        r'[{"provider":"not cpu \u0000"}]',
        r'[{"note":"cpu \ud83d","provider":"x"}]',
        '{"cpu":1}',
        '[1,"cpu"]',
    ]
    odd += ['[{"provider":1e999999,"cpu":1e999999}]', '[{"cpu":"\\\\u0000 \\\\ud800"}]']
    odd += ["not json", ""] if connection.vendor == "sqlite" else []
    unasked = list(RequestLog.objects.exclude(call_id__in=wanted).values_list("pk", flat=True))
    assert len(unasked) > len(odd)
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        for key, text in zip(unasked, odd, strict=False):
            cursor.execute("UPDATE telemetry_requestlog SET attempts = %s WHERE id = %s", [text, key])
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = OFF")
    assert [row.call_id for found in pages(criteria) for row in found.rows] == wanted
