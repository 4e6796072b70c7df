"""The acceptance test itself, against a gateway that `responses` plays: every kind of breakage fails its row."""

import fcntl
import importlib.util
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import requests
import responses
from played_gateway import TOKEN, URL, Body, Change, Played, delta_event, event, good_completion, good_events

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "uat" / "run_uat.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("run_uat", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


run_uat = load()


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Played]:
    for name in [name for name in os.environ if name.startswith(("LLM_CALLER_", "UAT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("LLM_CALLER_ENV_FILE", str(tmp_path / "no-such.env"))
    played = Played()
    monkeypatch.setattr("time.sleep", played.sleep)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as network:
        for method in ("GET", "POST"):
            network.add_callback(method, re.compile(re.escape(URL)), callback=played.answer)
        yield played


class Ran:
    """What a run printed and returned. `rows`: result by name; `told`: the whole text."""

    def __init__(self, code: int, told: str) -> None:
        self.code, self.told = code, told
        found = re.findall(r"^(pass|fail|skip)  (.+?)(?:   .*)?$", told, re.MULTILINE)
        self.rows = {name: result for result, name in found}

    def failed(self) -> list[str]:
        return [name for name, result in self.rows.items() if result == "fail"]


def play(capsys: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    code = run_uat.main(["--url", URL, "--token", TOKEN, "--wait", "0.01", *arguments])
    captured = capsys.readouterr()
    told = captured.out + captured.err
    assert TOKEN not in told
    return Ran(code, told)


def test_a_gateway_that_keeps_the_contract_passes_every_row(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = play(capsys)
    assert ran.code == 0, ran.told
    assert len(ran.rows) == 21
    assert ran.rows.pop("rate limit") == "skip"
    assert set(ran.rows.values()) == {"pass"}
    assert re.search(r"^pass  chat +\d+ ms  lmstudio_gpu, gemma-3-270m, capability-default$", ran.told, re.M)
    assert "20 passed, 0 failed, 1 skipped" in ran.told
    assert "What to look at" not in ran.told


def test_embed_is_skipped_when_no_provider_has_it(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.capabilities = ["chat", "chatStream"]
    ran = play(capsys)
    assert ran.code == 0, ran.told
    assert ran.rows["embed"] == "skip"
    assert ("POST", "/mcp/embed") not in gateway.seen


def test_capability_defaults_are_skipped_when_no_provider_has_any(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_defaults(body: Body) -> None:
        body["providers"][0]["defaults"] = {}
        body["models"][0].pop("defaults")

    gateway.changes["/mcp/models"] = without_defaults
    ran = play(capsys)
    assert (ran.code, ran.rows["models: capability defaults"]) == (0, "skip"), ran.told


def put(*path: Any) -> Change:
    """A change that sets the last of `path` at the place that the others name."""
    *way, key, value = path

    def change(body: Body) -> None:
        place: Any = body
        for step in way:
            place = place[step]
        place[key] = value

    return change


def drop(*path: Any) -> Change:
    *way, key = path

    def change(body: Body) -> None:
        place: Any = body
        for step in way:
            place = place[step]
        del place[key]

    return change


ROUTING = ("providerInfo", "routing")
ONE = "/mcp/models?provider=lmstudio_gpu"
BREAKAGES: list[tuple[str, str, Change, str]] = [
    ("chat", "/mcp/chat", put("extra", 1), "extra is not in the contract"),
    ("chat", "/mcp/chat", put("requestId", "another"), "requestId is not the one"),
    ("chat", "/mcp/chat", drop("traceId"), "traceId is missing"),
    ("chat", "/mcp/chat", drop("usage"), "usage is missing"),
    ("chat", "/mcp/chat", put("message", None), "message is not set"),
    ("chat", "/mcp/chat", put("message", "content", ""), "message.content is empty"),
    ("chat", "/mcp/chat", put("message", "content", None), "message.content is not a text"),
    ("chat", "/mcp/chat", put("message", "role", "user"), "message.role"),
    ("chat", "/mcp/chat", put("usage", "totalTokens", 99), "not the sum"),
    ("chat", "/mcp/chat", put("usage", "inputTokens", True), "usage.inputTokens is not a whole number"),
    ("chat", "/mcp/chat", put("providerInfo", "finishReason", "eos"), "finishReason is 'eos'"),
    ("chat", "/mcp/chat", drop("providerInfo", "routing"), "providerInfo.routing is missing"),
    ("chat", "/mcp/chat", put(*ROUTING, "capability", "embed"), "capability is 'embed'"),
    ("chat", "/mcp/chat", put(*ROUTING, "strategy", "luck"), "strategy is 'luck'"),
    ("chat", "/mcp/chat", put(*ROUTING, "strategy", "caller-override"), "strategy is 'caller-override'"),
    ("chat", "/mcp/chat", put(*ROUTING, "attempts", 0), "attempts is not a whole number of at least 1"),
    ("chat", "/mcp/chat", put(*ROUTING, "fallbackFrom", ["a"]), "fallbackFrom does not fit"),
    ("chat", "/mcp/chat", put("retryAfterMs", 1500), "Retry-After None is not retryAfterMs 1500"),
    ("chat", "/mcp/chat", lambda _: b"<html>", "not a JSON object"),
    ("chat", "/mcp/chat", lambda _: b'{"requestId": NaN}', "not a JSON object"),
    ("chat, provider named", "/mcp/chat", put("providerInfo", "name", "other"), "not 'lmstudio_gpu'"),
    ("embed", "/mcp/embed", put("vectors", [[1.0]]), "vectors are 1, not one for each of 2"),
    ("embed", "/mcp/embed", put("vectors", [[1.0], [1.0, 2.0]]), "vectors differ in length"),
    ("embed", "/mcp/embed", put("vectors", [[1.0], ["1"]]), "something else than finite numbers"),
    ("embed", "/mcp/embed", put("vectors", [[], []]), "something else than finite numbers"),
    ("models", "/mcp/models", put("provider", None), "provider is not a text"),
    ("models", "/mcp/models", put("models", []), "models are not those of lmstudio_gpu"),
    ("models", "/mcp/models", drop("providers", 0, "scores"), "providers[0].scores is missing"),
    ("models", "/mcp/models", put("providers", 0, "status", "fine"), "status is not ok, degraded or failed"),
    ("models", "/mcp/models", put("providers", 0, "apiKey", "x"), "apiKey is not in the contract"),
    ("models", "/mcp/models", put("models", 0, "ready", "yes"), "models[0].ready is not true or false"),
    ("models of one provider", ONE, put("provider", "other"), "provider is 'other'"),
    ("models: capability defaults", "/mcp/models", drop("models", 0, "defaults"), "not listed as default of"),
    ("health", "/health", drop("components", 2), "component audit is missing"),
    ("health", "/health", drop("components", 4), "component provider:lmstudio_gpu is missing"),
    ("health", "/health", drop("components", 4, "capabilityCoverage"), "has capabilityCoverage []"),
    ("health", "/health", drop("components", 4, "capabilityCoverage", 0), "has capabilityCoverage ['chatStr"),
    ("health", "/health", put("timestamp", "today"), "timestamp is not an ISO 8601"),
    ("health", "/health", put("status", "failed"), "not that of the worst component"),
    ("metrics", "/metrics", lambda _: b"llm_caller_calls_total{", "not a Prometheus sample"),
    ("metrics", "/metrics", lambda _: b"", "no sample tells of chat calls"),
]


@pytest.mark.parametrize(
    ("row", "path", "change", "problem"), BREAKAGES, ids=[f"{n}-{b[0]}" for n, b in enumerate(BREAKAGES)]
)
def test_an_answer_outside_the_contract_fails_its_row(
    gateway: Played, capsys: pytest.CaptureFixture[str], row: str, path: str, change: Change, problem: str
) -> None:
    gateway.changes[path] = change
    ran = play(capsys)
    assert ran.code == 1
    assert row in ran.failed()
    assert problem in ran.told
    assert f"- {row}: " in ran.told
    assert all(ran.rows[name] == "pass" for name in ran.rows if name.startswith(("an ", "no token")))


@pytest.mark.parametrize("path", ["/mcp/chat", "/mcp/embed", "/mcp/models", "/health", "/mcp/chatStream"])
@pytest.mark.parametrize("value", [None, "8e2f", "0190a6f2-7b1c-4d3e-8f4a-5b6c7d8e9f00"])
def test_a_call_id_that_is_no_uuid_version_7_fails(
    gateway: Played, capsys: pytest.CaptureFixture[str], path: str, value: str | None
) -> None:
    gateway.headers[path] = {"X-LLM-Caller-Call-Id": value}
    ran = play(capsys)
    assert (ran.code, ran.rows[path.removeprefix("/mcp/").removeprefix("/")]) == (1, "fail")
    assert "is not a UUIDv7" in ran.told


def test_a_retry_after_that_agrees_with_its_member_passes(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.changes["/mcp/chat"] = put("retryAfterMs", 1500)
    gateway.headers["/mcp/chat"] = {"Retry-After": "2"}
    assert play(capsys).code == 0


Events = Callable[[list[bytes]], list[bytes]]
STREAMS: list[tuple[str, Events]] = [
    ("not have exactly one completion", lambda events: [*events[:4], events[5]]),
    ("not have exactly one completion", lambda events: [*events[:4], events[4], events[4], events[5]]),
    ("not have exactly one completion", lambda events: [*events[:3], events[4], events[3], events[5]]),
    ("does not end with one [DONE]", lambda events: events[:-1]),
    ("does not end with one [DONE]", lambda events: [*events, b"data: [DONE]\n\n"]),
    ("does not end with one [DONE]", lambda events: [*events, delta_event(content="more")]),
    ("does not end with one [DONE]", lambda _: []),
    ("ends inside a frame", lambda events: [*events[:-1], b"data: [DONE]\n"]),
    ("deltas together are not", lambda events: [*events[:3], *events[4:]]),
    ("not deltas", lambda events: events[4:]),
    ("not one `data:` line", lambda events: [b"event: delta\n" + events[1], *events[2:]]),
    ("data is not a JSON object", lambda events: [*events[:3], b"data: {\n\n", *events[3:]]),
    ("deltas", lambda events: [event({"type": "note", "traceId": "x"}), *events]),
    ("delta.thought is not in the contract", lambda events: [delta_event(thought="x"), *events]),
    ("control characters", lambda events: [*events[:3], delta_event(content="\x07"), *events[3:]]),
    ("payload.message.content is empty", lambda e: [e[1], event(good_completion("")), e[5]]),
]


@pytest.mark.parametrize(("problem", "events"), STREAMS, ids=range(len(STREAMS)))
def test_a_stream_out_of_order_fails(
    gateway: Played, capsys: pytest.CaptureFixture[str], problem: str, events: Events
) -> None:
    gateway.events = events
    ran = play(capsys)
    assert (ran.code, ran.failed()) == (1, ["chatStream"])
    assert problem in ran.told


def test_a_stream_without_completion_fails_and_points_to_the_rate_limit_in_the_log(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.events = lambda events: events[:3]
    ran = play(capsys)
    assert ran.failed() == ["chatStream"]
    assert "`Rate limit exceeded`" in ran.told


def test_an_error_frame_fails_with_its_code_and_its_hint(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    failure = {"error": "TEMPORARY", "message": "Provider encountered a temporary error.", "traceId": "x"}
    gateway.events = lambda events: [*events[:3], event(failure), events[5]]
    ran = play(capsys)
    assert ran.failed() == ["chatStream"]
    assert "the stream failed with TEMPORARY" in ran.told
    assert "- chatStream: the provider failed or cannot be reached" in ran.told


@pytest.mark.parametrize(
    ("header", "value"), [("Content-Type", "application/json"), ("Cache-Control", None), ("Cache-Control", "max-age=1")]
)  # fmt: skip
def test_a_stream_with_another_header_fails(
    gateway: Played, capsys: pytest.CaptureFixture[str], header: str, value: str | None
) -> None:
    gateway.headers["/mcp/chatStream"] = {header: value}
    ran = play(capsys)
    assert (ran.code, ran.failed()) == (1, ["chatStream"])
    assert f"{header} is " in ran.told


def test_events_are_put_together_however_the_bytes_arrive() -> None:
    whole = b"".join(good_events()) + "data: \u00e9\u00e8".encode() + b"\r\n\r\n"
    for size in (1, 2, 7, 64, len(whole)):
        chunks = [whole[at : at + size] for at in range(0, len(whole), size)]
        assert list(run_uat_module("stream_checks").split_events(chunks))[:-1] == good_events()


def run_uat_module(name: str) -> ModuleType:
    return sys.modules[name]


HINTED: list[tuple[str, int, str, str]] = [
    ("/mcp/chat", 403, "FORBIDDEN", "issue_token uat"),
    ("/mcp/chat", 500, "CONFIG", "OPENAI_API_KEY"),
    ("/mcp/chat", 502, "AUTH", "the provider refused its credential"),
    ("/mcp/chat", 503, "TEMPORARY", "LM Studio"),
    ("/mcp/embed", 504, "DEADLINE_EXCEEDED", "LM Studio"),
    ("/mcp/embed", 503, "AUDIT_UNAVAILABLE", "LLM_CALLER_STATE_DIR"),
    ("/mcp/models", 503, "OVERLOADED", "starting, stopping or overloaded"),
    ("/mcp/models", 401, "UNAUTHORIZED", "X-LLM-Caller-Token"),
    ("/mcp/chatStream", 429, "RATE_LIMIT", "`Rate limit exceeded`"),
    ("/health", 404, "NOT_FOUND", "--url"),
    ("/metrics", 500, "INTERNAL_ERROR", "docs/clients.md"),
]


@pytest.mark.parametrize(("path", "status", "code", "hint"), HINTED, ids=[row[2] for row in HINTED])
def test_a_refused_row_says_where_to_look(
    gateway: Played, capsys: pytest.CaptureFixture[str], path: str, status: int, code: str, hint: str
) -> None:
    gateway.refusals[path] = (status, code)
    ran = play(capsys)
    row = path.removeprefix("/mcp/").removeprefix("/")
    assert ran.code == 1
    assert row in ran.failed()
    assert f"status {status} {code}: " in ran.told
    (told,) = [line for line in ran.told.splitlines() if line.startswith(f"- {row}: ")]
    assert hint in told


@pytest.mark.parametrize(("status", "hint"), [("degraded", "degraded: the provider answered"), ("failed", "failed: a probe")])  # fmt: skip
def test_a_health_that_is_not_ok_fails_with_the_component_and_its_details(
    gateway: Played, capsys: pytest.CaptureFixture[str], status: str, hint: str
) -> None:
    def sicken(body: Body) -> None:
        body["components"][4] |= {"status": status, "details": "The provider lists no models"}
        body["status"] = status

    gateway.changes["/health"] = sicken
    ran = play(capsys)
    assert (ran.code, ran.failed()) == (1, ["health is ok"])
    assert f"provider:lmstudio_gpu is {status}: The provider lists no models" in ran.told
    assert f"- health is ok: {hint}" in ran.told


ERROR_ROWS = [
    ("no token is a 401", lambda request: "X-LLM-Caller-Token" not in request.headers),
    ("an unknown token is a 403", lambda request: request.headers.get("X-LLM-Caller-Token", TOKEN) != TOKEN),
    ("a missing requestId is a 400", lambda request: request.body and "requestId" not in request.body),
    ("an unknown provider is a 404", lambda request: request.body and "uat-no-such-provider" in request.body),
    ("an unknown model is a 404", lambda request: request.body and "uat-no-such-model" in request.body),
    ("an unknown path is a 404", lambda request: request.path_url == "/uat-no-such-path"),
    ("another method is a 405", lambda request: (request.method, request.path_url) == ("GET", "/mcp/chat")),
    ("another media type is a 415", lambda request: request.headers.get("Content-Type") == "text/plain"),
]
FLAWS: list[Callable[[int, dict[str, str], Body], tuple[int, dict[str, str], Any]]] = [
    lambda _, headers, __: (200, headers, {}),
    lambda status, headers, _: (status, headers | {"Content-Type": "text/html"}, b"<html>"),
    lambda status, headers, body: (status, headers, body | {"error": "OTHER"}),
    lambda status, headers, body: (status, headers, body | {"traceId": "chatcmpl-8e2f"}),
    lambda status, headers, body: (status, headers, body | {"stack": "Traceback"}),
    lambda status, headers, body: (status, headers | {"X-LLM-Caller-Call-Id": "1"}, body | {"traceId": "1"}),
]


@pytest.mark.parametrize("flaw", FLAWS, ids=["200", "html", "code", "traceId", "field", "callId"])
@pytest.mark.parametrize(("row", "picks"), ERROR_ROWS, ids=[row for row, _ in ERROR_ROWS])
def test_an_error_answered_otherwise_fails_its_row_alone(
    gateway: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, row: str, picks: Any, flaw: Any
) -> None:  # fmt: skip
    route = gateway.route

    def flawed(method: str, path: str, request: requests.PreparedRequest) -> tuple[int, Any, Any]:
        status, body, headers = route(method, path, request)
        if path in ("/livez", "/readyz") or not picks(request):
            return status, body, headers
        status, headers, body = flaw(status, headers, body)
        return status, body, headers

    monkeypatch.setattr(gateway, "route", flawed)
    ran = play(capsys)
    assert (ran.code, ran.failed()) == (1, [row]), ran.told


@pytest.mark.parametrize(
    ("row", "header"), [("no token is a 401", "WWW-Authenticate"), ("another method is a 405", "Allow")]
)
def test_a_header_that_an_error_has_to_carry_is_missed(
    gateway: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, row: str, header: str
) -> None:  # fmt: skip
    route = gateway.route

    def without(method: str, path: str, request: requests.PreparedRequest) -> tuple[int, Any, Any]:
        status, body, headers = route(method, path, request)
        return status, body, {name: value for name, value in headers.items() if name != header}

    monkeypatch.setattr(gateway, "route", without)
    ran = play(capsys)
    assert ran.failed() == [row]


def test_details_that_do_not_name_the_request_id_fail(
    gateway: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    route = gateway.route

    def vague(method: str, path: str, request: requests.PreparedRequest) -> tuple[int, Any, Any]:
        status, body, headers = route(method, path, request)
        return status, {k: v for k, v in body.items() if k != "details"} if status == 400 else body, headers

    monkeypatch.setattr(gateway, "route", vague)
    ran = play(capsys)
    assert ran.failed() == ["a missing requestId is a 400"]


def test_ordinary_rows_wait_out_a_429_once(gateway: Played, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.limit = 1
    ran = play(capsys)
    assert ran.code == 0, ran.told
    assert gateway.slept
    assert gateway.slept == pytest.approx([0.962] * len(gateway.slept))


def test_the_rate_limit_is_shown_and_over_when_it_was_said_to_be(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.limit = 5
    ran = play(capsys, "--rate-limit")
    assert ran.code == 0, ran.told
    assert ran.rows["rate limit"] == "pass"
    assert "then 429; served again after 0.96 s" in ran.told


def test_no_limit_fails_the_demonstration_after_as_many_calls_as_allowed(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    before = len(gateway.seen)
    play(capsys)
    ordinary = len(gateway.seen) - before
    ran = play(capsys, "--rate-limit", "7")
    assert (ran.code, ran.failed()) == (1, ["rate limit"])
    assert "no 429 in 7 calls" in ran.told
    assert "LLM_CALLER_RATE_LIMIT_MAX" in ran.told
    assert len(gateway.seen) == 2 * ordinary + 7


@pytest.mark.parametrize("header", [None, "0", "912"])
def test_a_429_whose_header_and_hint_differ_fails_the_demonstration(
    gateway: Played, capsys: pytest.CaptureFixture[str], header: str | None
) -> None:
    gateway.limit = 5
    gateway.headers["/mcp/chat"] = {"Retry-After": header}
    ran = play(capsys, "--rate-limit")
    assert "rate limit" in ran.failed()
    assert "in whole seconds, rounded up" in ran.told


def test_a_limit_that_is_not_over_when_it_was_said_to_be_fails(
    gateway: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.limit = 40
    monkeypatch.setattr("time.sleep", gateway.slept.append)
    ran = play(capsys, "--rate-limit", "50")
    assert (ran.code, ran.failed()) == (1, ["rate limit"])
    assert "after waiting 0.96 s as told" in ran.told


def test_a_gateway_that_starts_is_waited_for(gateway: Played, capsys: pytest.CaptureFixture[str]) -> None:
    gateway.unready = 3
    ran = play(capsys, "--wait", "60")
    assert ran.code == 0, ran.told
    assert len(gateway.slept) == 3
    assert ran.told.count(f"Waiting for {URL}: starting (at most 60 s)") == 1


def test_a_gateway_that_never_gets_ready_fails_and_is_asked_no_more(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.unready = 10**6
    ran = play(capsys, "--wait", "0")
    assert (ran.code, ran.rows) == (1, {"livez": "pass", "readyz": "fail"})
    assert {path for _, path in gateway.seen} == {"/livez", "/readyz"}


def test_a_connection_that_is_refused_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    code = run_uat.main(["--url", "http://127.0.0.1:9", "--token", TOKEN, "--wait", "0"])
    captured = capsys.readouterr()
    assert (code, captured.out) == (2, "")
    assert captured.err.count("\n") == 1
    assert "connection refused at http://127.0.0.1:9" in captured.err


def test_a_connection_lost_on_the_way_fails_the_row_and_the_others_go_on(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    def lost(_: Body) -> None:
        raise requests.ConnectionError("Connection aborted")

    gateway.changes["/mcp/embed"] = lost
    ran = play(capsys)
    assert (ran.code, ran.failed()) == (1, ["embed"])
    assert "no answer (ConnectionError)" in ran.told
    assert "is it still running?" in ran.told


def test_without_a_token_nothing_is_asked_but_whether_it_is_ready(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_uat.main(["--url", URL]) == 2
    assert "UAT_CLIENT_TOKEN" in capsys.readouterr().err
    assert {path for _, path in gateway.seen} == {"/readyz"}


def test_a_start_that_has_only_begun_is_given_time_to_issue_the_token(
    gateway: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "uat.env"
    monkeypatch.setenv("LLM_CALLER_ENV_FILE", str(file))
    gateway.unready = 3
    pause = gateway.sleep

    def issue(seconds: float) -> None:
        pause(seconds)
        if gateway.unready < 2:
            file.write_text(f"UAT_CLIENT_TOKEN={TOKEN}\n")

    monkeypatch.setattr("time.sleep", issue)
    assert run_uat.main(["--url", URL, "--wait", "600"]) == 0
    assert "0 failed" in capsys.readouterr().out


def test_what_a_gateway_says_cannot_show_the_token_nor_steer_the_terminal(
    gateway: Played, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway.changes["/mcp/chat"] = put("message", "role", f"\x1b[2J{TOKEN}")
    ran = play(capsys)
    assert ran.failed() == ["chat", "chat, provider named"]
    assert "\x1b" not in ran.told
    assert "•••" in ran.told


def test_url_and_token_come_from_the_environment_file_and_the_environment_wins(
    gateway: Played, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "uat.env"
    file.write_text(f"LLM_CALLER_HOST=elsewhere.test\nLLM_CALLER_PORT=4037\nUAT_CLIENT_TOKEN='{TOKEN}'\n")
    monkeypatch.setenv("LLM_CALLER_ENV_FILE", str(file))
    monkeypatch.setenv("LLM_CALLER_HOST", "gateway.test")
    assert run_uat.main(["--wait", "0"]) == 0
    told = capsys.readouterr().out
    assert f"LLM Caller at {URL}" in told
    assert TOKEN not in told


def test_an_environment_file_is_read_with_its_quotes_and_comments() -> None:
    lines = "\n".join(
        [
            "# LLM_CALLER_PORT=1",
            "",
            "PLAIN=value",
            "export EXPORTED = spaced ",
            "DOUBLE=\"with # and spaces\" # a comment",
            "SINGLE='it'",
            "INLINE=4038 # a comment",
            "HASH=abc#def",
            "EMPTY=",
            "EMPTY=later",
            "TWICE=first",
            "TWICE=second",
            "not an assignment",
        ]
    )  # fmt: skip
    assert run_uat_module("gateway_client").parse_env(lines) == {
        "PLAIN": "value",
        "EXPORTED": "spaced",
        "DOUBLE": "with # and spaces",
        "SINGLE": "it",
        "INLINE": "4038",
        "HASH": "abc#def",
        "EMPTY": "later",
        "TWICE": "first",
    }


@pytest.mark.parametrize(
    ("env", "url"),
    [
        ({}, "http://127.0.0.1:4037"),
        ({"LLM_CALLER_HOST": "0.0.0.0", "LLM_CALLER_PORT": "4040"}, "http://127.0.0.1:4040"),
        ({"LLM_CALLER_HOST": "::1"}, "http://[::1]:4037"),
    ],
)
def test_the_default_url_is_where_the_gateway_listens(env: dict[str, str], url: str) -> None:
    assert run_uat_module("gateway_client").default_url(env) == url


def bare(*arguments: str, venv: Path) -> subprocess.CompletedProcess[str]:
    """Runs the script with this interpreter, but without site-packages."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-S", str(SCRIPT), *arguments]
    return subprocess.run(
        command,
        env=env | {"LLM_CALLER_VENV": str(venv)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_without_requests_it_goes_on_in_the_checkout_s_environment(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\necho "went on: $*"\n')
    python.chmod(0o755)
    done = bare("--rate-limit", "--wait", "5", venv=tmp_path)
    assert (done.returncode, done.stdout) == (0, f"went on: {SCRIPT} --rate-limit --wait 5\n")


def test_without_requests_and_environment_it_says_what_to_do(tmp_path: Path) -> None:
    done = bare(venv=tmp_path / "none")
    assert done.returncode == 1
    assert "./uat/start_server.sh once" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_can_be_started_by_itself() -> None:
    assert SCRIPT.stat().st_mode & stat.S_IXUSR
    assert SCRIPT.read_text().startswith("#!/usr/bin/env python3\n")


def test_a_start_that_is_still_installing_is_waited_for(tmp_path: Path) -> None:
    venv = tmp_path / "none"
    env = os.environ | {"LLM_CALLER_VENV": str(venv)}
    with (tmp_path / ".none.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        command = [sys.executable, "-S", str(SCRIPT)]
        waiting = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
        assert waiting.stderr is not None
        assert waiting.stderr.readline() == "run_uat: ./uat/start_server.sh is at work; waiting for it\n"
        assert waiting.poll() is None
    _, told = waiting.communicate(timeout=30)
    assert "./uat/start_server.sh once" in told
