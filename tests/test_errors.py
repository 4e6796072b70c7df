"""The error table of the contract, and that the provider is untouched where the client is at fault."""

import re
from typing import Any

import httpx
import pytest
from conftest import BOB, RunningGateway, chat_body
from fake_provider import FakeProvider
from scraped import wait_until

GOOD = b'{"requestId": "r", "callerTool": "bob", "messages": [{"role": "user", "content": "x"}]}'


def raw(shared: RunningGateway, body: bytes, path: str = "/mcp/chat", **headers: str) -> httpx.Response:
    headers = {"X-LLM-Caller-Token": BOB, "Content-Type": "application/json", **headers}
    return shared.client.post(path, content=body, headers=headers)


BAD_BODIES: list[tuple[str, bytes]] = [
    ("INVALID_JSON", b""),
    ("INVALID_JSON", b"{"),
    ("INVALID_JSON", GOOD + b"x"),
    ("INVALID_JSON", b'{"requestId": NaN}'),
    ("INVALID_JSON", b'{"requestId": "\x01"}'),
    ("VALIDATION_FAILED", b"[]"),
    ("VALIDATION_FAILED", b"null"),
    ("JSON_TOO_DEEP", b"[" * 65 + b"]" * 65),
    ("JSON_TOO_DEEP", b"[" * 200_000),
    ("DUPLICATE_KEY", GOOD.replace(b'"callerTool"', b'"requestId": "r", "callerTool"')),
    ("DUPLICATE_KEY", GOOD[:-1] + b', "tools": [{"name": "a", "parameters": {"x": 1, "x": 2}}]}'),
    ("INVALID_UNICODE", GOOD.replace(b'"x"', b'"\\ud800"')),
    ("INVALID_UNICODE", GOOD.replace(b'"x"', b'"a\\u0000b"')),
    ("INVALID_UNICODE", GOOD[:-1] + b', "tools": [{"name": "a", "parameters": {"x": "\\udc00"}}]}'),
    ("INVALID_ENCODING", b'{"requestId": "\xff"}'),
    ("INVALID_ENCODING", b"\xef\xbb\xbf" + GOOD),
    ("INVALID_ENCODING", GOOD.decode().encode("utf-16")),
    ("NUMBER_OUT_OF_RANGE", GOOD[:-1] + b', "temperature": 1e999}'),
    ("NUMBER_OUT_OF_RANGE", GOOD[:-1] + b', "seed": ' + b"9" * 5000 + b"}"),
    ("VALIDATION_FAILED", GOOD[:-1] + b', "temperature": 2.1}'),
    ("VALIDATION_FAILED", GOOD[:-1] + b', "baseUrl": "http://evil"}'),
    ("VALIDATION_FAILED", GOOD[:-1] + b', "apiKey": "x"}'),
    ("VALIDATION_FAILED", GOOD[:-1] + b', "timestamp": "yesterday"}'),
    ("VALIDATION_FAILED", GOOD.replace(b'"r"', b'"a\\nb"')),
    ("VALIDATION_FAILED", GOOD.replace(b'"r"', b'""')),
    ("VALIDATION_FAILED", GOOD.replace(b'"r"', b'"' + b"r" * 201 + b'"')),
    ("VALIDATION_FAILED", GOOD.replace(b'"user"', b'"robot"')),
    ("VALIDATION_FAILED", GOOD.replace(b'[{"role": "user", "content": "x"}]', b"[]")),
    ("VALIDATION_FAILED", GOOD.replace(b'"x"', b"null")),
]


@pytest.mark.parametrize(
    ("reason", "body"), BAD_BODIES, ids=[f"{n}-{r}" for n, (r, _) in enumerate(BAD_BODIES)]
)
def test_a_bad_body_is_a_400_with_its_reason_and_no_provider_call(
    shared: RunningGateway, shared_fake: FakeProvider, reason: str, body: bytes
) -> None:
    before = [hit for hit in shared_fake.hits if hit.method == "POST"]
    for path in ("/mcp/chat", "/mcp/chatStream"):
        response = raw(shared, body, path)
        answer = response.json()
        assert (response.status_code, answer["error"], answer["reason"]) == (400, "BAD_REQUEST", reason)
        assert answer["traceId"] == response.headers["x-llm-caller-call-id"]
    assert [hit for hit in shared_fake.hits if hit.method == "POST"] == before


def test_validation_names_the_place(shared: RunningGateway) -> None:
    answer = shared.chat(messages=[{"role": "user", "content": 5}]).json()
    assert answer["details"] == [
        {"path": "messages[0].content", "message": "A string, an array or null is expected, not an integer"}
    ]
    body = chat_body()
    del body["requestId"]
    assert shared.post("/mcp/chat", body).json()["details"][0]["path"] == "requestId"


@pytest.mark.parametrize(
    ("model", "status", "code", "hits"),
    [
        ("status-400", 422, "PERMANENT", 1),
        ("status-404", 422, "PERMANENT", 1),
        ("status-401", 502, "AUTH", 1),
        ("status-403", 502, "AUTH", 1),
        ("status-408", 503, "TEMPORARY", 2),
        ("status-500", 503, "TEMPORARY", 2),
        ("status-429", 429, "RATE_LIMIT", 2),
        ("html", 503, "TEMPORARY", 2),
        ("broken-json", 503, "TEMPORARY", 2),
        ("wrong-shape", 503, "TEMPORARY", 2),
        ("cut-after-3", 503, "TEMPORARY", 2),
        ("redirect", 503, "TEMPORARY", 2),
        ("huge", 503, "TEMPORARY", 2),
    ],
)
def test_a_provider_s_fault_has_its_code_and_leaks_nothing(
    shared: RunningGateway, shared_fake: FakeProvider, model: str, status: int, code: str, hits: int
) -> None:
    before = len(shared_fake.hits_for(model))
    response = shared.chat(model=model, provider="lmstudio_fake")
    assert (response.status_code, response.json()["error"]) == (status, code)
    assert len(shared_fake.hits_for(model)) - before == hits
    assert "PROVIDER-TEXT" not in response.text
    assert not any(hit.path == "/canary" for hit in shared_fake.hits)


def test_the_provider_s_hint_is_passed_on_clamped(shared: RunningGateway, shared_fake: FakeProvider) -> None:
    response = shared.chat(model="429-retry-after-3", provider="lmstudio_fake")
    assert response.json()["retryAfterMs"] == 3000
    assert response.headers["retry-after"] == "3"
    assert len(shared_fake.hits_for("429-retry-after-3")) == 1, "a long hint is not waited for"
    clamped = shared.chat(model="429-retry-after-99999", provider="lmstudio_fake").json()
    assert clamped["retryAfterMs"] == 60_000
    assert "retryAfterMs" not in shared.chat(model="429-retry-after-garbage", provider="lmstudio_fake").json()


def test_a_retry_that_succeeds_is_counted(shared: RunningGateway) -> None:
    answer = shared.chat(model="503-then-ok-a", provider="lmstudio_fake").json()
    assert answer["providerInfo"]["routing"]["attempts"] == 2
    assert answer["providerInfo"]["routing"]["strategy"] == "caller-override"


@pytest.mark.parametrize("accept", ["text/html", "application/xml", "*/*"])
@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "NOT_FOUND"),
        ("GET", "/mcp/chat/", 404, "NOT_FOUND"),
        ("GET", "//mcp/chat", 404, "NOT_FOUND"),
        ("GET", "/mcp/%00", 404, "NOT_FOUND"),
        ("GET", "/mcp/chat", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/mcp/chatStream", 405, "METHOD_NOT_ALLOWED"),
        ("PUT", "/health", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/metrics", 405, "METHOD_NOT_ALLOWED"),
        ("POST", "/livez", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_errors_are_json_whatever_accept_says(
    shared: RunningGateway, method: str, path: str, status: int, code: str, accept: str
) -> None:
    url = httpx.URL(shared.url).copy_with(raw_path=path.encode())
    request = httpx.Request(
        method, url, headers={"Accept": accept, "X-LLM-Caller-Token": BOB, "Host": "localhost"}
    )
    response = shared.client.send(request)
    assert (response.status_code, response.json()["error"]) == (status, code)
    if status == 405:
        assert response.headers["allow"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "identity"},
    ],
)
def test_other_media_types_and_encodings_are_415(shared: RunningGateway, headers: dict[str, str]) -> None:
    response = raw(shared, GOOD, **headers)
    assert (response.status_code, response.json()["error"]) == (415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize(
    ("path", "headers", "content", "status", "code"),
    [
        ("/nope", {}, b"", 404, "NOT_FOUND"),
        ("/mcp/nope?token=canary", {}, b"", 404, "NOT_FOUND"),
        ("/mcp/ch%61t", {}, b"", 404, "NOT_FOUND"),
        ("//mcp/chat", {}, b"", 404, "NOT_FOUND"),
        ("/mcp/chat", {"Content-Type": "text/plain"}, b"x", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("/mcp/chatStream", {"Content-Encoding": "gzip"}, b"x", 415, "UNSUPPORTED_MEDIA_TYPE"),
        ("/mcp/chat", {}, b" " * 9_000_000, 413, "BODY_TOO_LARGE"),
    ],
)
def test_what_is_refused_before_the_token_leaves_no_row_but_a_line_and_a_count(
    shared: RunningGateway, path: str, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    counter = f"refused_{code.lower()}"
    before = counted(shared, counter)
    headers = {"X-LLM-Caller-Token": BOB, "Content-Type": "application/json", **headers}
    url = httpx.URL(shared.url).copy_with(raw_path=path.encode())
    answer = shared.client.post(url, content=content, headers=headers)
    call_id = answer.headers["x-llm-caller-call-id"]
    assert (answer.status_code, answer.json()["traceId"]) == (status, call_id)

    def told() -> list[dict[str, Any]]:
        return [line for line in shared.log_lines() if line["traceId"] == call_id]

    wait_until(lambda: bool(told()))
    (line,) = told()
    assert (line["level"], line["message"]) == ("warn", "Refused before the token")
    sent = {"method": "POST", "path": path.partition("?")[0]}
    assert line["metadata"] == sent | {
        "callId": call_id,
        "peer": "127.0.0.1",
        "status": status,
        "code": code,
    }
    assert counted(shared, counter) == before + 1
    assert shared.records(call_id=call_id) == []


def counted(gateway: RunningGateway, event: str) -> float:
    text = gateway.get("/metrics").text
    found = re.search(rf'^llm_caller_events_total\{{event="{event}"\}} (\S+)$', text, re.MULTILINE)
    return float(found[1]) if found else 0


def test_text_that_is_unusual_but_good_arrives_byte_identical(shared: RunningGateway) -> None:
    text = "\u202eabc\u2028 🜁 e\u0301 \u200f\ufeff tail"
    assert shared.chat(text).json()["message"]["content"] == f"echo: {text}"


def test_what_the_kind_cannot_do_is_named(tmp_path: Any, fake: FakeProvider) -> None:
    from conftest import running_gateway

    entry = {
        "baseUrl": fake.url,
        "defaultModel": "claude",
        "capabilities": ["chat", "chatStream"],
        "kind": "anthropic",
        "apiKey": {"file": str(tmp_path / "key")},
    }
    (tmp_path / "key").write_text("sk-ant-canary\n")
    with running_gateway(tmp_path, {"providers": {"claude": entry}}) as gateway:
        answer = gateway.chat("hi").json()
        assert answer["message"]["content"] == "echo: hi"
        assert fake.hits[-1].headers["x-api-key"] == "sk-ant-canary"
        assert gateway.frames("hi")[-2]["payload"]["usage"]["totalTokens"] == 8
        refused = gateway.chat(temperature=1.5).json()
        assert (refused["reason"], refused["details"][0]["path"]) == ("CAPABILITY_UNSUPPORTED", "temperature")
        body = {"requestId": "e", "callerTool": "bob", "inputs": ["a"], "provider": "claude"}
        assert gateway.post("/mcp/embed", body).json()["reason"] == "CAPABILITY_UNSUPPORTED"
        assert (
            gateway.post("/mcp/embed", {k: v for k, v in body.items() if k != "provider"}).status_code == 500
        )
        leaky = gateway.chat(model="status-401", provider="claude")
        assert leaky.status_code == 502
        everything = leaky.text + gateway.stdout.read_text() + str(gateway.records())
        assert "sk-ant-canary" not in everything
