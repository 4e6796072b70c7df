"""Promise 1's order of writing: the intent before a provider is asked, the outcome before the last byte of an answer;
before the outcome the content, where it is kept.
"""

import json
from pathlib import Path

import pytest
from logged import lines, logging_to
from staged import PATHS, Stage

pytestmark = pytest.mark.django_db(transaction=True)
"""Nothing here reads a table, but a consumer of Channels tidies up connections that earlier tests left open."""


@pytest.mark.parametrize("path", PATHS)
async def test_an_answer_is_whole_only_after_its_outcome_is_written(tmp_path: Path, path: str) -> None:
    stage = Stage(tmp_path)
    await stage.call(path)
    streamed = ["first bytes", "provider ended"] if path == "/mcp/chatStream" else []
    assert stage.happened == ["intent", "provider asked", *streamed, "outcome ok", "last byte"]
    assert stage.status == 200
    assert b"told" in stage.sent or b"vectors" in stage.sent


@pytest.mark.parametrize("path", PATHS)
async def test_without_an_intent_no_provider_is_asked(tmp_path: Path, path: str) -> None:
    stage = Stage(tmp_path, full="intent")
    await stage.call(path)
    assert (stage.happened, stage.status) == (["last byte"], 503)
    assert json.loads(stage.sent)["error"] == "AUDIT_UNAVAILABLE"


@pytest.mark.parametrize("path", PATHS)
async def test_without_an_outcome_no_answer_is_completed(tmp_path: Path, path: str) -> None:
    stage = Stage(tmp_path, full="outcome")
    await stage.call(path)
    assert stage.happened[:2] == ["intent", "provider asked"]
    if path == "/mcp/chatStream":
        last, end = stage.sent.split(b"\n\n")[-3:-1]
        assert json.loads(last.removeprefix(b"data: "))["error"] == "AUDIT_UNAVAILABLE"
        assert end == b"data: [DONE]"
        assert b'"completion"' not in stage.sent
    else:
        assert (stage.status, json.loads(stage.sent)["error"]) == (503, "AUDIT_UNAVAILABLE")
        assert b"told" not in stage.sent


@pytest.mark.parametrize("path", PATHS)
async def test_content_that_is_to_be_kept_is_written_before_the_outcome(tmp_path: Path, path: str) -> None:
    stage = Stage(tmp_path, capture="all")
    await stage.call(path)
    assert stage.happened[-3:] == ["content", "outcome ok", "last byte"]


@pytest.mark.parametrize("path", PATHS)
async def test_a_call_whose_content_finds_no_room_has_failed_for_its_client_and_on_record(
    tmp_path: Path, path: str
) -> None:
    stage = Stage(tmp_path, full="content", capture="all")
    await stage.call(path)
    streamed = path == "/mcp/chatStream"
    assert stage.happened[-2:] == ["outcome AUDIT_UNAVAILABLE", "last byte"]
    assert b'"AUDIT_UNAVAILABLE"' in stage.sent
    assert b'"completion"' not in stage.sent
    assert stage.journal.recorded.status == stage.status == (200 if streamed else 503)
    assert bool(stage.journal.recorded.answer_digest) == streamed, "of what was sent, and of nothing else"


async def test_content_of_failures_only_is_not_missed_where_a_call_goes_well(tmp_path: Path) -> None:
    stage = Stage(tmp_path, full="content", capture="failures")
    await stage.call("/mcp/chat")
    assert (stage.status, stage.happened[-2:]) == (200, ["outcome ok", "last byte"])


@pytest.mark.parametrize("path", PATHS)
async def test_a_call_that_comes_while_the_server_drains_is_a_line_and_a_count(
    tmp_path: Path, path: str
) -> None:
    stage = Stage(tmp_path / "journal")
    stage.gateway.draining = True
    with logging_to(tmp_path / "out", stage.gateway.log):
        await stage.call(path)
    assert (stage.happened, stage.status) == (["last byte"], 503)
    (line,) = lines(tmp_path / "out")
    answer = json.loads(stage.sent)
    assert answer["reason"] == "DRAINING"
    assert (line["level"], line["message"]) == ("warn", "Refused before the token")
    told = {"callId": answer["traceId"], "peer": "127.0.0.1", "status": 503, "code": "OVERLOADED"}
    told |= {"reason": "DRAINING"}
    assert line["metadata"] == told | {"method": "POST", "path": path}
    assert stage.gateway.metrics.counters == {"refused_draining": 1}


async def test_probes_while_the_server_drains_are_no_refusals(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "journal")
    stage.gateway.draining = True
    with logging_to(tmp_path / "out", stage.gateway.log):
        await stage.call("/livez")
    assert lines(tmp_path / "out") == []
    assert stage.gateway.metrics.counters == {}


@pytest.mark.parametrize("path", PATHS)
async def test_a_body_that_only_the_application_finds_too_large_is_a_line_and_a_count(
    tmp_path: Path, path: str
) -> None:
    stage = Stage(tmp_path / "journal")
    with logging_to(tmp_path / "out", stage.gateway.log):
        await stage.call(path, "x" * 9_000_000)
    assert (stage.happened, stage.status) == (["last byte"], 413)
    (line,) = lines(tmp_path / "out")
    call_id = json.loads(stage.sent)["traceId"]
    assert (line["level"], line["message"]) == ("warn", "Refused before the token")
    told = {"callId": call_id, "peer": "127.0.0.1", "status": 413, "code": "BODY_TOO_LARGE"}
    told |= {"method": "POST", "path": path}
    assert line["metadata"] == told
    assert stage.gateway.metrics.counters == {"refused_body_too_large": 1}
