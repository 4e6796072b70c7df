"""What is on record of a stream is what its client was sent, also of one that reads slowly and leaves, or is cut."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import staged
from staged import Stage
from test_unrecorded import seen, stored

from gateway.edge.respond import PIECE_BYTES

pytestmark = pytest.mark.django_db(transaction=True)
Send = Callable[[dict[str, Any]], Awaitable[None]]


def provides(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """All at once."""
    told = json.dumps({"choices": [{"index": 0, "delta": {"content": text}}]})
    monkeypatch.setattr(staged, "EVENTS", (b"data: %b\n\n" % told.encode(), staged.EVENTS[1]))


def reads(stage: Stage, slowly: Callable[[dict[str, Any], Send], Awaitable[None]]) -> None:
    """What the server does with each message for a client that reads so."""
    application = stage._application

    async def slow(scope: Any, receive: Any, send: Send) -> None:
        await application(scope, receive, lambda message: slowly(message, send))

    stage._application = slow  # type: ignore[assignment]


async def never(_: dict[str, Any]) -> None:
    await asyncio.Event().wait()


async def test_of_a_client_that_leaves_its_record_has_what_it_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "abcdefghij" * 80_000
    provides(monkeypatch, text)
    stage = Stage(tmp_path / "j")

    async def takes_one(message: dict[str, Any], send: Send) -> None:
        await (never if b"data: " in stage.sent else send)(message)

    reads(stage, takes_one)
    calling = asyncio.ensure_future(stage.call("/mcp/chatStream", close=False))
    await seen(stage, "first bytes")
    await asyncio.sleep(0.1)
    stage.over.set()
    await calling
    stage.journal.close()
    frames = [json.loads(part.removeprefix(b"data: ")) for part in stage.sent.split(b"\n\n")[:-1]]
    told = "".join(frame["delta"]["content"] for frame in frames)
    assert 0 < len(told) < len(stage.sent) <= PIECE_BYTES
    assert text.startswith(told)
    row = await stored(tmp_path / "j")
    key = stage.gateway.runtime.policy.digest_key
    assert (row.outcome, row.bytes_out) == ("CLIENT_CLOSED", len(stage.sent))
    assert row.answer_digest == key.of_text(told)


async def test_of_a_stream_whose_end_is_on_record_its_client_is_told_nothing_else(tmp_path: Path) -> None:
    stage, waits = Stage(tmp_path / "j"), asyncio.Event()

    async def holds_up_the_end(message: dict[str, Any], send: Send) -> None:
        if b'"completion"' in message.get("body", b""):
            waits.set()
            await asyncio.Event().wait()
        await send(message)

    reads(stage, holds_up_the_end)
    calling = asyncio.ensure_future(stage.call("/mcp/chatStream", close=False))
    await waits.wait()
    stage.gateway.cut()  # the drain's time is over
    await calling
    stage.journal.close()
    assert (await stored(tmp_path / "j")).outcome == "ok"
    assert b"error" not in stage.sent
    assert stage.happened[-1] == "last byte"
