"""The hardened server over raw sockets: framing, caps, deadlines, drain (promise 11)."""

import contextlib
import json
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import IncompleteRead
from typing import Any

import httpx
import pytest
from conftest import (
    BOB,
    RunningGateway,
    chat_body,
    parse_frames,
    provider_entry,
    running_gateway,
    slow_reader,
)
from fake_provider import FakeProvider
from scraped import wait_until


def exchange(gateway: RunningGateway, data: bytes, seconds: float = 15) -> bytes:
    """Sends the bytes and reads until the server closes or falls silent."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=seconds) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
        received = b""
        try:
            while chunk := connection.recv(65536):
                received += chunk
                if _is_whole(received):
                    break
        except OSError:
            pass
        return received


def _is_whole(received: bytes) -> bool:
    head, _, body = received.partition(b"\r\n\r\n")
    match = re.search(rb"(?i)content-length: (\d+)", head)
    return match is not None and len(body) >= int(match[1])


def status_and_body(received: bytes) -> tuple[int, Any]:
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), json.loads(body)


HEAD = b"POST /mcp/chat HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nX-LLM-Caller-Token: bob-token\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"NONSENSE\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Content-Length: 5, 5\r\n\r\n12345",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        HEAD + b"Bad Header: x\r\n\r\n",
        HEAD + b"X: a\x00b\r\n\r\n",
        HEAD + b"X: a\x0bb\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X-Filler: " + b"a" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"A: b\r\n" * 500 + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /livez HTTP/1.1\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        b"GET /livez HTTP/1.1\r\nHost: localhost@evil\r\n\r\n",
    ],
)
def test_bad_framing_and_unknown_hosts_are_json_400s(shared: RunningGateway, data: bytes) -> None:
    received = exchange(shared, data)
    status, body = status_and_body(received)
    assert (status, body["error"]) == (400, "BAD_REQUEST")
    assert set(body) >= {"error", "message", "traceId"}
    assert f"x-llm-caller-call-id: {body['traceId']}".encode() in received.lower()


@pytest.mark.parametrize("path", [b"/mcp/../health", b"/./health", b"/mcp\\chat", b"/health/..", b"//health"])
def test_a_path_has_one_spelling(shared: RunningGateway, path: bytes) -> None:
    request = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nX-LLM-Caller-Token: bob-token\r\n\r\n"
    status, body = status_and_body(exchange(shared, request))
    assert (status, body["error"]) == (404, "NOT_FOUND")


def test_a_body_past_the_cap_is_refused_before_it_is_read(shared: RunningGateway) -> None:
    declared = HEAD + b"Content-Length: 200000000\r\n\r\n"
    status, body = status_and_body(exchange(shared, declared))
    assert (status, body["error"]) == (413, "BODY_TOO_LARGE")
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    status, body = status_and_body(
        exchange(shared, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 200)
    )
    assert (status, body["error"]) == (413, "BODY_TOO_LARGE")


def test_a_chunked_body_is_read_like_any_other(shared: RunningGateway) -> None:
    text = json.dumps(chat_body("chunky")).encode()
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (text[:7], text[7:]))
    status, body = status_and_body(
        exchange(shared, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n")
    )
    assert (status, body["message"]["content"]) == (200, "echo: chunky")


def test_daphne_s_root_path_header_and_upgrades_have_no_effect(shared: RunningGateway) -> None:
    headers = {
        "Daphne-Root-Path": "/evil",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "X-LLM-Caller-Token": BOB,
    }
    assert shared.client.get("/health", headers=headers).status_code == 200


def test_slow_headers_and_bodies_are_cut_with_408(shared: RunningGateway) -> None:
    with ThreadPoolExecutor() as pool:
        began = time.monotonic()
        header = pool.submit(_drip, shared, b"GET /livez HTTP/1.1\r\nX: ", 14)
        body = pool.submit(_drip, shared, HEAD + b"Content-Length: 500\r\n\r\n", 36)
        status, _ = status_and_body(header.result())
        assert status == 408
        assert time.monotonic() - began < 12
        status, answer = status_and_body(body.result())
        assert (status, answer["error"]) == (408, "REQUEST_TIMEOUT")
        assert time.monotonic() - began < 33


def _drip(gateway: RunningGateway, start: bytes, seconds: float) -> bytes:
    """One byte every half second, until the server has had enough."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=0.5) as connection:
        connection.sendall(start)
        until = time.monotonic() + seconds
        received = b""
        while time.monotonic() < until and not _is_whole(received):
            try:
                received += connection.recv(4096)
                connection.sendall(b"a")
            except TimeoutError:
                connection.sendall(b"a")
            except OSError:
                break
        return received


def test_a_drain_lets_everything_in_flight_complete(tmp_path: Any, fake: FakeProvider) -> None:
    """25 calls and 25 streams in flight at SIGTERM (promise 11)."""
    entry = provider_entry(fake.url)
    with (
        running_gateway(tmp_path, {"providers": {"lmstudio_a": entry}}) as gateway,
        ThreadPoolExecutor(60) as pool,
    ):
        calls = [pool.submit(_call, gateway, "/mcp/chat", "slow-2s") for _ in range(25)]
        streams = [pool.submit(_call, gateway, "/mcp/chatStream", "stream-40-50") for _ in range(25)]
        assert fake.wait_for(lambda: sum(hit.method == "POST" for hit in fake.hits) == 50)
        began = time.monotonic()
        assert gateway.process is not None
        gateway.process.send_signal(signal.SIGTERM)
        assert _refused_soon(gateway)
        whole = sum(done.result().status_code == 200 for done in calls)
        whole += sum(parse_frames(done.result().content)[-2]["type"] == "completion" for done in streams)
        code = gateway.stop()
        took = time.monotonic() - began
        recorded = len(gateway.records(outcome="ok"))
        print(f"promise 11: {whole}/50 complete, {recorded}/50 recorded, exit {code} after {took:.1f} s")
        assert (whole, recorded, code) == (50, 50, 0)
        assert took <= 30


def _call(gateway: RunningGateway, path: str, model: str) -> httpx.Response:
    body = chat_body(model=model, provider="lmstudio_a")
    headers = {"X-LLM-Caller-Token": BOB}
    return httpx.post(gateway.url + path, json=body, headers=headers, timeout=60, trust_env=False)


def _refused_soon(gateway: RunningGateway) -> bool:
    until = time.monotonic() + 2
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", gateway.port), timeout=1).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            continue
        threading.Event().wait(0.02)
    return False


def test_beyond_the_drain_s_time_streams_end_with_an_error_frame(tmp_path: Any, fake: FakeProvider) -> None:
    env = {"LLM_CALLER_DRAIN_S": "1"}
    providers = {"providers": {"lmstudio_a": provider_entry(fake.url)}}
    with running_gateway(tmp_path, providers, env=env) as gateway, ThreadPoolExecutor() as pool:
        stream = pool.submit(_call, gateway, "/mcp/chatStream", "endless")
        call = pool.submit(_call, gateway, "/mcp/chat", "silent")
        assert fake.wait_for(lambda: sum(hit.method == "POST" for hit in fake.hits) == 2)
        assert gateway.stop() == 0
        frames = parse_frames(stream.result().content)
        assert frames[-1] == "[DONE]"
        assert frames[-2]["error"] == "OVERLOADED"
        assert call.result().status_code == 503
        assert {row["outcome"] for row in gateway.records()} == {"DRAINED"}


def test_a_slow_reader_s_stream_is_cut_by_the_drain_without_a_frame_inside_another(
    tmp_path: Any, fake: FakeProvider
) -> None:
    fake.scripts["large"] = ["z" * 1_000_000] * 6
    providers = {"providers": {"lmstudio_a": provider_entry(fake.url)}}
    with running_gateway(tmp_path, providers, env={"LLM_CALLER_DRAIN_S": "0"}) as gateway:
        with slow_reader(gateway, chat_body(model="large", provider="lmstudio_a")) as answer:
            assert answer.read(100_000)
            assert gateway.process is not None
            gateway.process.send_signal(signal.SIGTERM)
            wait_until(lambda: "DRAINED" in gateway.stdout.read_text())
            try:
                rest = answer.read()
            except IncompleteRead as cut:
                rest = cut.partial
        _, *whole, last = rest.split(b"\n\n")
        if whole[-1] == b"data: [DONE]":  # it was cut between two frames, and its client is told
            *whole, told, _ = whole
            assert json.loads(told.removeprefix(b"data: "))["error"] == "OVERLOADED"
        assert len(whole) > 10
        assert {json.loads(block.removeprefix(b"data: "))["type"] for block in whole} == {"delta"}
        assert last.count(b"data: ") <= 1


def test_only_json_lines_are_on_stdout(shared: RunningGateway) -> None:
    shared.chat()
    for line in shared.log_lines():
        assert set(line) == {"timestamp", "level", "message", "requestId", "traceId", "metadata"}
