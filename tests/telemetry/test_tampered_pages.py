"""Pages of the record over rows that somebody changed in the database: each opens, shows what can be read, and says
that the row is not as it was recorded."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client as Browser
from recorded import call, ignore, intent, outcome

from gateway.places import audit_folder
from telemetry import tail
from telemetry.journal import Journal
from telemetry.models import RequestLog
from telemetry.search import PAGE
from telemetry.writer import Writer

pytestmark = pytest.mark.django_db
LIST = "/admin/telemetry/requestlog/"
SHAPES = [
    *("null", "[1]", "[null]", '["x"]', '"x"', "5", '[{"provider":5}]', "[[[]]]"),
    *('{"candidates":5}', '{"removed":{}}', '{"routing":5}', '{"routing":{"considered":[1]}}'),
    *('{"routing":{"considered":[{"provider":{}}],"rule":[]}}', '{"stage":{"a":1},"traceId":5,"unable":[1]}'),
    *('{"rate":5,"concurrency":[]}', '[{"durationMs":"x","status":"y","provider":{},"model":[]}]'),
    *('{"routing":{"considered":[{"provider":"a","score":"x","bonus":[]}]}}', '{"removed":"x"}'),
]
UNREAD = {
    "attempts": "Whom it asked cannot be read.",
    "decision": "What was decided cannot be read.",
    "sanitised": "<dd> not readable </dd>",
}
CELLS = [
    *(("started_at", text) for text in ("junk", "2026-13-45 00:00:00", "", "0001-01-01 00:00:00")),
    *(("started_at", "9999-12-31 23:59:59.999999"), ("call_id", "junk"), ("call_id", "")),
    *((name, "x") for name in ("duration_ms", "status", "sequence", "config_version", "first_event_ms")),
    *(("hash", ""), ("sequence", None), ("chain", ""), ("outcome", "<b>"), ("method", "??")),
    *(("input_tokens", -5), ("peer", "<script>"), ("duration_ms", 10**18), ("decision", "not json")),
    *(("attempts", "not json"), ("sanitised", "[")),
]


@pytest.fixture
def row(tmp_path: Path) -> int:
    """One of three calls."""
    call_command("collectstatic", interactive=False, verbosity=0)
    journal, writing = (
        Journal(tmp_path / "journal"),
        Writer(tmp_path / "journal", ignore, audit_folder().chain()),
    )
    for n in range(1, 4):
        journal.intent(intent(call(n), started_at=1_700_000_000.25 + n))
        journal.outcome(outcome(call(n), started_at=1_700_000_000.25 + n))
    writing.run_once()
    journal.close()
    return RequestLog.objects.get(call_id=call(2)).pk


@pytest.fixture
def olga() -> Browser:
    browser = Browser(raise_request_exception=False)
    browser.force_login(User.objects.create_superuser("olga"))
    return browser


def update(sql: str, *values: Any) -> None:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = ON")
        cursor.execute(sql, values)
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA ignore_check_constraints = OFF")


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def opened(olga: Browser, path: str) -> str:
    answer = olga.get(path)
    assert answer.status_code == 200, (path, answer.status_code)
    return " ".join(answer.content.decode().split())


def check(olga: Browser, row: int, *, verified: bool = False) -> str:
    page = opened(olga, f"{LIST}{row}/change/")
    assert "Is it what was recorded?" in page
    assert ("Yes: it is call" in page) == verified
    for query in ("", "?outcome=ok", "?outcome=served&client=bob"):
        listed = opened(olga, LIST + query)
        assert "2023-11-14 22:13:23" in listed, "the call after it"
        assert "2023-11-14 22:13:21" in listed, "and the one before it"
    opened(olga, "/admin/")
    return page


def test_a_call_page_opens_whatever_shape_its_parts_have(olga: Browser, row: int) -> None:
    assert "Somebody changed this row" not in check(olga, row, verified=True)
    for column in ("attempts", "decision", "sanitised"):
        for text in SHAPES:
            with undone():
                update(f"UPDATE telemetry_requestlog SET {column} = %s WHERE id = %s", text, row)
                page = check(olga, row)
                if not text.startswith("{"):
                    assert f"No gateway writes what stands in {column}: it is not shown below." in page
                    assert UNREAD[column] in page


def test_a_changed_row_says_so_before_it_tells_its_outcome(olga: Browser, row: int) -> None:
    page = opened(olga, f"{LIST}{row}/change/")
    assert page.count('href="#protection"') == 0
    for sql, said in (
        ("outcome = 'RATE_LIMIT'", "Verification failed: changed, call 2."),
        ("chain = ''", "Verification failed."),
    ):
        with undone():
            update(f"UPDATE telemetry_requestlog SET {sql} WHERE id = %s", row)
            page = opened(olga, f"{LIST}{row}/change/")
        first, outcome = re.findall(r'<p class="notice (\w+)"> <strong>(.*?)</strong>', page)[:2]
        assert first == ("failed", said)
        assert outcome[1].startswith(("ok", "RATE_LIMIT"))
        assert 'href="#protection"' in page
        assert 'id="protection"' in page


def test_one_odd_cell_spoils_no_page(olga: Browser, row: int) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite stores anything anywhere")
    for column, value in CELLS:
        with undone():
            update(f"UPDATE telemetry_requestlog SET {column} = %s WHERE id = %s", value, row)
            page = check(olga, row)
            if (column, value) == ("started_at", "junk"):
                assert "No gateway writes what stands in started_at (“junk”): it is not shown below." in page
                assert "No gateway writes" not in opened(olga, f"{LIST}{row + 1}/change/")
                assert "not readable</a> <span" in opened(olga, LIST)


def test_the_live_tail_counts_what_it_cannot_read(row: int) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite stores anything anywhere")
    for column, value in (("started_at", "junk"), ("started_at", "2026-13-45 00:00:00"), ("call_id", "junk")):
        with undone():
            update(f"UPDATE telemetry_requestlog SET {column} = %s WHERE id = %s", value, row)
            news = tail.since(row - 2, 10)
            assert [told["pk"] for told in news.rows] == [row - 1, row + 1]
            assert (news.newest, news.skipped) == (row + 1, 1)


def test_more_unreadable_rows_than_a_page_holds_hide_nothing(olga: Browser, row: int) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("only SQLite stores anything anywhere")
    for n in range(PAGE + 1):
        added = RequestLog.objects.create(
            call_id=call(100 + n), tool_id="eve", token_id="t", method="chat", outcome="ok", status=200,
            started_at="2024-01-01T00:00:00Z", duration_ms=1,
        )  # fmt: skip
        update("UPDATE telemetry_requestlog SET started_at = %s WHERE id = %s", "junk", added.pk)
    first = opened(olga, LIST)
    assert "2023-11-14" not in first
    older = re.search(r'rel="next" href="([^"]+)"', first)
    assert older is not None
    assert "2023-11-14 22:13:23" in opened(olga, LIST + older[1])
