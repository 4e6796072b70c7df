"""The live tail of the record: who may watch, what is told, what is dropped, and that nothing is left behind."""

import asyncio
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest
from conftest import RunningGateway, provider_entry, registry, running_gateway
from django.contrib.auth.models import Group, User
from django.test import Client as Browser
from fake_provider import FakeProvider

from gateway.edge import tail as edge
from gateway.errors import Refusal
from gateway.sessions import session_of
from gateway.watching import may_watch
from telemetry import tail
from telemetry.criteria import Criteria, Term
from telemetry.models import RequestLog

PASSWORD = "ada's password 1"
TAIL = tail.PATH
ALL = Criteria()


def row(n: int, **more: Any) -> dict[str, Any]:
    facts: dict[str, Any] = dict.fromkeys(tail.TOLD, "")
    facts |= {"pk": n, "call_id": uuid.UUID(int=n), "started_at": datetime(2026, 1, 1, tzinfo=UTC)}
    return facts | {"tool_id": "bob", "outcome": "ok"} | more


def rows(count: int, **more: Any) -> list[dict[str, Any]]:
    return [row(n, **more) for n in range(count)]


def told(viewer: edge.Viewer) -> dict[str, Any]:
    taken = viewer.take()
    return read_events(taken)[0][1] if taken else {}


def read_events(raw: bytes) -> list[tuple[str, Any]]:
    found = []
    for block in raw.split(b"\n\n"):
        name, _, data = block[block.find(b"event: ") :].partition(b"\ndata: ")
        if name.startswith(b"event: "):
            found.append((name.removeprefix(b"event: ").decode(), msgspec.json.decode(data)))
    return found


def test_a_viewer_gets_what_his_filter_asks_for_and_nothing_when_there_is_nothing() -> None:
    viewer = edge.Viewer("s", Criteria(terms=(Term("tool_id", ("charlie",)),)))
    viewer.offer([row(1), row(2)], 0)
    assert not viewer.news.is_set()
    assert viewer.take() == b""
    viewer.offer([row(3, tool_id="charlie"), row(4)], 0)
    assert viewer.news.is_set()
    got = told(viewer)
    assert [call["id"] for call in got["calls"]] == [3]
    assert got["notShown"] == 0
    assert set(got["calls"][0]) == {*tail.TOLD.values(), "class"}
    assert not viewer.news.is_set()


def test_the_newest_are_shown_and_the_others_counted_when_calls_come_too_fast() -> None:
    viewer = edge.Viewer("s", ALL)
    viewer.offer(rows(edge.SHOWN_ROWS + 30), skipped=7)
    got = told(viewer)
    assert [call["id"] for call in got["calls"]] == list(range(30, edge.SHOWN_ROWS + 30))
    assert got["notShown"] == 30 + 7
    for _ in range(10):
        viewer.offer(rows(edge.SHOWN_ROWS), 0)
    got = told(viewer)
    assert len(got["calls"]) == edge.KEPT_ROWS
    assert len(got["calls"]) + got["notShown"] == 10 * edge.SHOWN_ROWS
    assert told(viewer) == {}


def front(*, draining: bool = False) -> Any:
    return SimpleNamespace(gateway=SimpleNamespace(draining=draining))


def watching_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("record-tail")]


async def until(condition: Any, seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def looked(key: int, sessions: set[str]) -> edge.Seen:
    """A look in which a call has come each time, and the session "lost" is not welcome any more."""
    return tail.News((row(key + 1),), key + 1), sessions - {"lost"}, sessions


async def test_one_look_serves_all_and_ends_with_the_last_viewer() -> None:
    calls = []

    def look(key: int, sessions: set[str]) -> edge.Seen:
        calls.append(sessions)
        return looked(key, sessions)

    watch = edge.Watch(front(), look)
    viewers = [watch.add(f"s-{n}", ALL) for n in range(edge.MOST_VIEWERS)]
    await until(lambda: all(viewer.news.is_set() for viewer in viewers))
    assert len(watching_threads()) == 1
    assert len(calls) == 1
    assert len(calls[0]) == edge.MOST_VIEWERS
    for viewer in viewers:
        watch.remove(viewer)
    await until(lambda: not watching_threads())
    again = watch.add("s", ALL)
    await until(again.news.is_set)
    watch.remove(again)
    await until(lambda: not watching_threads())


async def test_viewers_are_bounded_in_all_and_for_each_session() -> None:
    watch = edge.Watch(front(), looked)
    own = [watch.add("one", ALL) for _ in range(edge.PER_SESSION)]
    with pytest.raises(Refusal, match="4 pages of your session") as own_limit:
        watch.add("one", ALL)
    assert own_limit.value.reason == "TOO_MANY_OF_SESSION"
    others = [watch.add(f"s-{n}", ALL) for n in range(edge.MOST_VIEWERS - edge.PER_SESSION)]
    with pytest.raises(Refusal, match="20 pages watch the record") as limit:
        watch.add("another", ALL)
    assert limit.value.reason == "TOO_MANY_VIEWERS"
    for viewer in own + others:
        watch.remove(viewer)
    await until(lambda: not watching_threads())


async def test_who_lost_the_right_is_told_and_the_others_go_on() -> None:
    watch = edge.Watch(front(), looked)
    stays, lost = watch.add("stays", ALL), watch.add("lost", ALL)
    await until(lambda: lost.ended)
    assert lost.ended == edge.ENDED
    assert stays.ended == ""
    watch.remove(stays)
    watch.remove(lost)
    await until(lambda: not watching_threads())


async def test_a_gateway_that_stops_ends_all_at_once() -> None:
    gateway = front()
    watch = edge.Watch(gateway, looked)
    viewer = watch.add("s", ALL)
    await until(viewer.news.is_set)
    gateway.gateway.draining = True
    await until(lambda: viewer.ended)
    assert viewer.ended == edge.STOPPING
    await until(lambda: not watching_threads())


async def test_who_comes_back_is_told_what_he_missed_once_and_how_much_more_there_was() -> None:
    asked: list[tuple[int, int]] = []

    def missed(key: int, until: int) -> tail.News | None:
        asked.append((key, until))
        if len(asked) == 1:
            return None  # the database did not answer
        return tail.News(tuple(row(n) for n in range(until - 299, until + 1)), until, 4_000)

    watch = edge.Watch(front(), lambda key, sessions: looked(max(key, 1_000), sessions), missed)
    others = watch.add("s", ALL)
    back = watch.add("s", ALL, 7)
    await until(lambda: back.begun.is_set())
    [_, (since, to)] = asked
    assert since == 7
    assert back.key == to
    got = told(back)
    assert [call["id"] for call in got["calls"]] == list(range(to - edge.KEPT_ROWS + 1, to + 1))
    assert got["notShown"] == 100 + 4_000
    await until(lambda: back.news.is_set() and others.news.is_set())
    assert [call["id"] for call in told(back)["calls"]] == [to + 1]
    assert len(asked) == 2
    watch.remove(back)
    watch.remove(others)
    await until(lambda: not watching_threads())


@pytest.mark.parametrize(
    ("sent", "key"),
    [(b"12", 12), (b"", -1), (b"-3", -1), (b"1e3", -1), (b"9" * 19, -1), ("¹".encode(), -1), (b"x", -1)],
)
def test_what_cannot_be_an_id_is_none(sent: bytes, key: int) -> None:
    assert edge.last_told([(b"host", b"x"), (b"last-event-id", sent)]) == key
    assert edge.last_told([(b"host", b"x")]) == edge.FROM_NOW


async def test_a_look_that_breaks_leaves_nobody_waiting() -> None:
    def broken(key: int, sessions: set[str]) -> edge.Seen:
        raise RuntimeError("a defect")

    watch = edge.Watch(front(), broken)
    viewer = watch.add("s", ALL)
    await until(lambda: viewer.ended)
    await until(lambda: not watching_threads())


@pytest.mark.django_db
def test_rows_come_in_the_order_of_their_arrival_and_none_twice() -> None:
    def arrive(*ids: int) -> None:
        for n in ids:
            RequestLog.objects.create(
                call_id=uuid.UUID(int=n), tool_id="bob", token_id="t", method="chat", peer="", outcome="ok",
                status=200, started_at=datetime(2026, 1, 1, tzinfo=UTC), duration_ms=1,
            )  # fmt: skip

    assert tail.newest() == 0
    arrive(5, 3)
    begun = tail.newest()
    assert tail.since(begun, 10) == tail.News((), begun)
    arrive(9, 1, 7)
    news = tail.since(begun, 10)
    assert [found["call_id"].int for found in news.rows] == [9, 1, 7]
    assert (news.newest, news.skipped) == (tail.newest(), 0)
    few = tail.since(begun, 2)
    assert ([found["call_id"].int for found in few.rows], few.skipped) == ([1, 7], 1)
    [ninth] = tail.since(begun, 10, begun + 1).rows
    assert ninth["call_id"].int == 9
    kept = {field.name for field in RequestLog._meta.fields} - {"id", "attempts", "decision", "sanitised"}
    kept -= {"chain", "sequence", "hash"}  # what protects a row says nothing of the call
    kept -= {"request_digest", "prompt_digest", "answer_digest"}  # compared with a text's, never read
    assert kept <= set(tail.TOLD) | {"pk"}


def session(user: User) -> tuple[Browser, str]:
    browser = Browser()
    browser.force_login(user)
    key = browser.session.session_key
    assert key is not None
    return browser, key


@pytest.mark.django_db
def test_only_who_may_read_the_record_may_watch_and_only_as_long() -> None:
    olga = User.objects.create_user("olga", "", "olga's password 1", is_staff=True)
    browser, key = session(olga)
    assert not may_watch(key)
    olga.groups.add(Group.objects.get(name="auditors"))
    assert may_watch(key)
    assert not may_watch("")
    assert not may_watch("no-such-session")
    for change in ({"is_active": False}, {"is_staff": False}):
        User.objects.filter(pk=olga.pk).update(**change)
        assert not may_watch(key), change
        User.objects.filter(pk=olga.pk).update(**dict.fromkeys(change, True))
    assert may_watch(key)
    browser.logout()
    assert not may_watch(key)
    _, again = session(olga)
    olga.set_password("another password 1")
    olga.save()
    assert not may_watch(again)


def test_the_session_is_read_from_all_cookies() -> None:
    assert session_of([(b"cookie", b"a=1; sessionid=abc"), (b"host", b"x")]) == "abc"
    assert session_of([(b"host", b"x")]) == ""


@contextmanager
def logged_in(folder: Path, fake: FakeProvider) -> Iterator[RunningGateway]:
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with running_gateway(
        folder, {"providers": {"lmstudio_a": provider_entry(fake.url)}}, registry(), env
    ) as it:
        form = {"username": "ada", "password": PASSWORD, "next": "/admin/"}
        form["csrfmiddlewaretoken"] = it.client.get("/admin/login/").cookies["csrftoken"]
        assert it.client.post("/admin/login/", data=form).status_code == 302
        yield it


@contextmanager
def watched(gateway: RunningGateway, query: str = "") -> Iterator[Iterator[tuple[str, Any]]]:
    """The events that come, each when it comes. Begins when the gateway looks."""
    with gateway.client.stream("GET", f"{TAIL}?{query}") as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        chunks = answer.iter_bytes()
        first = next(chunks)
        assert re.fullmatch(rb"id: \d+\n: keepalive\n\n", first), first
        yield (found for chunk in chunks for found in read_events(chunk))


def test_calls_are_told_as_they_are_stored_without_content_until_the_logout(
    tmp_path: Path, fake: FakeProvider
) -> None:
    with logged_in(tmp_path, fake) as gateway:
        with watched(gateway, "client=bob&outcome=ok") as events:
            gateway.chat("a secret text", model="no-such-model")
            began = time.monotonic()
            call_id = gateway.chat("a secret text").headers["x-llm-caller-call-id"]
            name, value = next(events)
            print(f"a call was told {time.monotonic() - began:.1f} s after its end")
            assert time.monotonic() - began < 5
            assert name == "calls"
            assert [call["callId"] for call in value["calls"]] == [call_id]
            assert "secret" not in str(value)
            form = {"csrfmiddlewaretoken": gateway.client.cookies["csrftoken"]}
            assert gateway.client.post("/admin/logout/", data=form).status_code in (200, 302)
            left = time.monotonic()
            assert next(events) == ("end", {"message": edge.ENDED})
            assert time.monotonic() - left < 5
            assert list(events) == []
        assert gateway.client.get(TAIL).status_code == 403


def test_what_was_stored_while_the_connection_was_lost_is_told_to_who_comes_back(
    tmp_path: Path, fake: FakeProvider
) -> None:
    with logged_in(tmp_path, fake) as gateway:

        def connected(last: bytes, count: int) -> bytes:
            """What comes until so many calls came."""
            headers = {"Last-Event-ID": last.decode()} if last else {}
            raw = b""
            with gateway.client.stream("GET", TAIL, headers=headers) as answer:
                for chunk in answer.iter_bytes():
                    raw += chunk
                    if sum(len(value["calls"]) for _, value in read_events(raw)) >= count:
                        return raw
            raise AssertionError(raw)

        place = re.findall(rb"^id: (\d+)$", connected(b"", 0), re.MULTILINE)[-1]
        sent = [gateway.chat().headers["x-llm-caller-call-id"] for _ in range(3)]
        gateway.wait_for_records(3)
        raw = connected(place, 3)
        assert [call["callId"] for _, value in read_events(raw) for call in value["calls"]] == sent
        assert {value["notShown"] for _, value in read_events(raw)} == {0}
        again = re.findall(rb"^id: (\d+)$", raw, re.MULTILINE)[-1]
        assert read_events(connected(again, 0)) == []


def test_what_is_asked_wrongly_is_refused(tmp_path: Path, fake: FakeProvider) -> None:
    with logged_in(tmp_path, fake) as gateway:
        for path in (
            f"{TAIL}?since=never",
            f"{TAIL}?q=x",
            f"{TAIL}?" + "&".join(f"a{n}=1" for n in range(1001)),
        ):
            answer = gateway.client.get(path)
            assert (answer.status_code, answer.json()["error"]) == (400, "BAD_REQUEST"), path
        assert gateway.client.post(TAIL).status_code == 405
        stranger = httpx.get(gateway.url + TAIL, headers={"X-LLM-Caller-Token": "bob-token"}, trust_env=False)
        assert (stranger.status_code, stranger.json()["reason"]) == (403, "NOT_WELCOME")


def test_an_open_tail_does_not_hold_up_the_end_of_the_gateway(tmp_path: Path, fake: FakeProvider) -> None:
    with logged_in(tmp_path, fake) as gateway, watched(gateway) as events:
        began = time.monotonic()
        assert gateway.process is not None
        gateway.process.terminate()
        assert next(events) == ("end", {"message": edge.STOPPING})
        assert gateway.stop() == 0
        assert time.monotonic() - began < 20
