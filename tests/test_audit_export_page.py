"""The page *Export*: Olga downloads what she selected, a chunk at a time; Ada may read the record, but not take it away."""

import asyncio
import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import Group, User
from django.core.cache import cache
from django.db import connections
from django.test import Client as Browser
from test_admin import _static_files  # noqa: F401 - a fixture
from test_audit_commands import CALL, five_calls

from gateway.console.audit_export import off_the_loop
from gateway.models import ConfigChange

pytestmark = pytest.mark.django_db(transaction=True)
PATH = "/admin/record/export/"


@pytest.fixture(autouse=True)
def _fresh_counts() -> Iterator[None]:
    yield
    cache.clear()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    with five_calls(tmp_path):
        yield tmp_path


def logged_in(role: str) -> Browser:
    from django.contrib.auth.models import Permission

    from gateway.roles import give  # the tables were emptied by the test before

    known = Permission.objects.select_related("content_type")
    give(Group.objects, known, known)
    person = User.objects.create_user("olga", password="olga's own", is_staff=True)
    person.groups.add(Group.objects.get(name=role))
    browser = Browser()
    browser.force_login(person)
    return browser


def downloaded(browser: Browser, **wanted: Any) -> bytes:
    answer = browser.post(PATH, {"wanted": "jsonl", **wanted})
    assert answer.status_code == 200, answer.content
    assert answer.headers["Cache-Control"].startswith("no-store")

    async def everything() -> bytes:
        try:
            return b"".join([chunk async for chunk in answer.streaming_content])
        finally:
            await sync_to_async(connections.close_all)()  # the thread's own; it outlives the loop

    return asyncio.run(everything())


def test_olga_downloads_the_record_in_each_format(state: Path) -> None:
    olga = logged_in("auditors")
    assert "Evidence pack" in olga.get(PATH).content.decode()
    assert [json.loads(line)["sequence"] for line in downloaded(olga).splitlines()] == [1, 2, 3, 4, 5]
    assert downloaded(olga, wanted="csv").count(b"\r\n") == 6
    with zipfile.ZipFile(io.BytesIO(downloaded(olga, wanted="pack", tool_id="charlie"))) as archive:
        assert json.loads(archive.read("manifest.json"))["rows"] == 2


def test_who_took_what_away_is_on_record_before_the_first_byte(state: Path) -> None:
    olga = logged_in("auditors")
    answer = olga.post(PATH, {"wanted": "csv", "tool_id": "charlie", "since": "2023-11-14"})
    row = ConfigChange.objects.get(table="exports")
    assert (row.author, row.row) == ("olga", "calls of the client charlie from 2023-11-14T00:00:00.000000Z")
    assert row.reason == "exported as CSV for spreadsheets, from the admin"
    answer.close()
    olga.post(PATH, {"wanted": "exe"})
    assert ConfigChange.objects.filter(table="exports").count() == 1, (
        "a form that is wrong takes nothing away"
    )
    listed = olga.get("/admin/gateway/configchange/?table=exports").content.decode()
    assert "calls of the client charlie from 2023-11-14" in listed
    opened = olga.get(f"/admin/gateway/configchange/{row.pk}/change/").content.decode()
    assert "CSV for spreadsheets" in opened
    assert "no longer there" not in opened


def test_a_selection_of_period_and_call(state: Path) -> None:
    olga = logged_in("auditors")
    rows = downloaded(olga, since="2023-11-15 00:00", until="2023-11-15 02:00").splitlines()
    assert [json.loads(row)["sequence"] for row in rows] == [2, 3]
    (row,) = downloaded(olga, call_id=CALL % 4).splitlines()
    assert json.loads(row)["sequence"] == 4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"since": "yesterday"}, "Write a date and time as"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "Write a date and time as"),
        ({"until": "9999-12-31T23:59:59-14:00"}, "Write a date and time as"),
        ({"since": "2026-11-02", "until": "2026-11-01"}, "The end lies before the beginning."),
        ({"call_id": "x"}, "Enter a valid UUID."),
        ({"call_id": CALL % 9}, "No such call is on record."),
        ({"call_id": CALL % 2}, "No such call is on record."),
        ({"tool_id": "BOB"}, "There is no client called “BOB”, and no call of one is on record."),
        ({"wanted": "exe"}, "Select a valid choice."),
    ],
)
def test_a_form_that_is_wrong_says_so_and_keeps_what_was_typed(
    state: Path,
    wrong: dict[str, str],
    says: str,
) -> None:
    typed = {"wanted": "csv", "tool_id": "bob", **wrong}
    answer = logged_in("auditors").post(PATH, typed)
    page = answer.content.decode()
    assert (answer.status_code, says in page, f'value="{typed["tool_id"]}"' in page) == (422, True, True)


@pytest.mark.parametrize("role", ["operators", "viewers"])
def test_who_is_no_auditor_takes_nothing_away(state: Path, role: str) -> None:
    browser = logged_in(role)
    assert browser.get(PATH).status_code == 403
    assert browser.post(PATH, {"wanted": "jsonl"}).status_code == 403


def test_the_eleventh_export_in_a_minute_is_refused(state: Path) -> None:
    olga = logged_in("auditors")
    answers = [olga.post(PATH, {"wanted": "csv"}).status_code for _ in range(22)]
    assert answers[:10] == [200] * 10
    assert 429 in answers[10:], "a minute may end in between, two cannot"


async def test_a_chunk_is_made_when_the_one_before_has_been_taken() -> None:
    made: list[int] = []

    def chunks() -> Iterator[bytes]:
        for n in range(3):
            made.append(n)
            yield b"x"

    stream = off_the_loop(chunks())
    await anext(stream)
    assert made == [0]
    assert [chunk async for chunk in stream] == [b"x", b"x"]
