"""What HTTP clients do of their own accord, and what they may take the contract's words for."""

import json
import socket
from http import HTTPStatus
from typing import Any

import msgspec
import pytest
import requests
from conftest import BOB, RunningGateway, chat_body
from test_server import exchange, status_and_body

from gateway.asked import canonical
from providers.types import ChatRequest, Message

TOKEN = {"X-LLM-Caller-Token": BOB}
BODY = json.dumps(chat_body("hello")).encode()
REST = b"Content-Type: application/json\r\nX-LLM-Caller-Token: bob-token\r\nContent-Length: %d\r\n\r\n%b" % (
    len(BODY),
    BODY,
)


def test_a_reader_that_asks_the_header_for_the_encoding_reads_a_stream_s_text(shared: RunningGateway) -> None:
    body = chat_body("Zürich 😀")
    answer = requests.post(f"{shared.url}/mcp/chatStream", json=body, headers=TOKEN, timeout=30)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "echo: Zürich 😀" in answer.text


@pytest.mark.parametrize(
    "target",
    [
        b"/mcp%2fchat", b"/mcp%2Fchat", b"/mcp/ch%61t", b"/mcp/%63hat", b"/%6dcp/chat", b"/mcp/chat%2f", b"/mcp/%2e/chat",
        b"/mcp%5cchat", b"/%61dmin/", b"/metr%69cs", b"/%6Civez", b"/mcp/chat%53tream", b"/static/gateway/%61dmin.css",
    ],
)  # fmt: skip
def test_an_escape_of_what_needs_none_is_no_other_spelling_of_a_route(
    shared: RunningGateway, target: bytes
) -> None:
    status, body = status_and_body(
        exchange(shared, b"POST %b HTTP/1.1\r\nHost: localhost\r\n%b" % (target, REST))
    )
    assert (status, body["error"]) == (404, "NOT_FOUND")


def test_escapes_that_are_needed_and_queries_are_as_good_as_ever(shared: RunningGateway) -> None:
    listed = shared.get("/mcp/models?provider=lmstudio%5Ffake")
    assert (listed.status_code, listed.json()["provider"]) == (200, "lmstudio_fake")
    assert shared.client.get("/admin/clients/client/a%20b%C3%A9_2F/change/").status_code == 302, (
        "to the login"
    )


@pytest.mark.parametrize("target", [b"http://localhost/mcp/chat", b"HTTPS://127.0.0.1:9/mcp/chat?x=/"])
def test_a_whole_url_as_the_target_is_its_path_at_its_host(shared: RunningGateway, target: bytes) -> None:
    received = exchange(shared, b"POST %b HTTP/1.1\r\nHost: evil.example\r\n%b" % (target, REST))
    status, body = status_and_body(received)
    assert (status, body["message"]["content"]) == (200, "echo: hello")


@pytest.mark.parametrize(
    ("target", "hosts", "status"),
    [
        (b"http://evil.example/mcp/chat", [b"localhost"], 400),
        (b"http://localhost@evil.example/mcp/chat", [b"localhost"], 400),
        (b"http:///mcp/chat", [b"localhost"], 400),
        (b"http://localhost/mcp/chat", [], 400),
        (b"http://localhost/mcp/chat", [b"localhost", b"localhost"], 400),
        (b"http://localhost", [b"localhost"], 403),  # the home page, whose forms need a token
        (b"http://localhost//mcp/chat", [b"localhost"], 404),
        (b"http://localhost/mcp/ch%61t", [b"localhost"], 404),
        (b"ftp://localhost/mcp/chat", [b"localhost"], 404),
    ],
)
def test_a_whole_url_is_held_to_what_a_path_and_a_host_are(
    shared: RunningGateway, target: bytes, hosts: list[bytes], status: int
) -> None:
    lines = b"".join(b"Host: %b\r\n" % host for host in hosts)
    got, body = status_and_body(exchange(shared, b"POST %b HTTP/1.1\r\n%b%b" % (target, lines, REST)))
    assert got == status, body
    assert set(body) >= {"error", "message", "traceId"}


@pytest.mark.parametrize(
    ("more", "status"), [({"model": "status-400"}, 422), ({"model": "status-429"}, 429), ({"foo": 1}, 400), ({}, 200)]
)  # fmt: skip
def test_a_status_line_says_what_its_number_means(
    shared: RunningGateway, more: dict[str, Any], status: int
) -> None:
    named = {"provider": "lmstudio_fake"} if "model" in more else {}
    answer = shared.chat(**more, **named)
    assert (answer.status_code, answer.reason_phrase) == (status, HTTPStatus(status).phrase)


NULLS: list[dict[str, Any]] = [
    *({name: None} for name in ("timestamp", "provider", "model", "temperature", "maxTokens", "topP", "stop", "seed")),
    *({name: None} for name in ("responseFormat", "tools", "toolChoice")),
    {"tools": [{"name": "w", "parameters": {}, "description": None}]},
    {"responseFormat": {"type": "text", "schema": None, "name": None, "strict": None}},
    {"messages": [{"role": "assistant", "content": "a", "toolCalls": None, "toolCallId": None}, *chat_body()["messages"]]},
]  # fmt: skip


@pytest.mark.parametrize("more", NULLS, ids=lambda more: ",".join(more))
def test_an_optional_field_may_be_null(shared: RunningGateway, more: dict[str, Any]) -> None:
    answer = shared.chat(**more)
    assert answer.status_code == 200, answer.text


def test_no_tool_calls_have_one_digest_however_they_are_said() -> None:
    said = [b"", b', "toolCalls": []', b', "toolCalls": null']
    forms = {
        canonical(ChatRequest(messages=(msgspec.json.decode(text, type=Message),)))
        for text in (b'{"role": "assistant", "content": "a"%b}' % more for more in said)
    }
    assert len(forms) == 1
    assert b'"toolCalls":[]' in forms.pop(), "as in records that there are"


def test_a_call_without_content_or_tool_calls_is_none(shared: RunningGateway) -> None:
    messages = [{"role": "assistant", "content": None, "toolCalls": None}]
    (detail,) = shared.chat(messages=messages).json()["details"]
    assert detail["message"] == "`content` may be null only beside an assistant's `toolCalls`"


def test_who_closes_the_sending_half_has_given_the_call_up(shared: RunningGateway) -> None:
    """As docs/clients.md says: it looks as a client does that has left, for whom nothing goes on."""
    body = json.dumps(chat_body(requestId="half", provider="lmstudio_fake", model="slow-300ms")).encode()
    request = b"POST /mcp/chat HTTP/1.1\r\nHost: localhost\r\n%b%d\r\n\r\n%b" % (
        REST.partition(b"Content-Length: ")[0] + b"Content-Length: ",
        len(body),
        body,
    )
    with socket.create_connection(("127.0.0.1", shared.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    (row,) = shared.wait_for_records(1, request_id="half")
    assert row["outcome"] == "CLIENT_CLOSED"
