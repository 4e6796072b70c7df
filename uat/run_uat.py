#!/usr/bin/env python3
"""Acceptance test of a running gateway, from outside: every endpoint, checked against the contract.

    ./uat/run_uat.py [--url URL] [--token TOKEN] [--rate-limit]

Exit code 0 when nothing failed, 1 when a row failed, 2 when no gateway answers.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
try:
    import requests
except ModuleNotFoundError:
    own = ROOT / ".venv" / "bin" / "python"
    if own.exists() and Path(sys.executable).resolve() != own.resolve() and not os.environ.get("UAT_REEXEC"):
        os.environ["UAT_REEXEC"] = "1"
        os.execv(own, [str(own), *sys.argv])
    sys.exit("run_uat: the package `requests` is missing; run ./uat/start_server.sh once, it installs it")

sys.path.insert(0, str(Path(__file__).resolve().parent))
import contract_checks as checks

PROMPT = [{"role": "user", "content": "Say hello in one short sentence."}]
TIMEOUT_S = 120
MODEL_LOADS_S = 20
HINTS = {
    "403": "403: the token is unknown or lacks the method. Issue one: .venv/bin/python manage.py issue_token uat "
    "--methods chat,chatStream,embed,getHealth,models, and set UAT_CLIENT_TOKEN in .env",
    "CONFIG": "CONFIG: no enabled provider with a credential has the capability; look at Providers in the admin",
    "AUTH": "AUTH: the provider refused its credential; check the key that the provider's row names",
    "TEMPORARY": "TEMPORARY: the provider cannot be reached or failed; is LM Studio running? See /health",
    "RATE_LIMIT": "RATE_LIMIT: too many calls; look for `Rate limit exceeded` in the log",
    "DEADLINE_EXCEEDED": "DEADLINE_EXCEEDED: the model is too slow; raise LLM_CALLER_FIRST_EVENT_TIMEOUT_MS",
    "health": "health is not ok: degraded means that discovery answered with a warning, failed that it did not answer; "
    "the component's `details` say why",
    "stream": "stream: it stopped early; look for `Rate limit exceeded` and `Stream dispatch failed` in the log",
}


class Row(NamedTuple):
    name: str
    result: str
    milliseconds: float
    problems: list[str]


class Answer(NamedTuple):
    status: int
    headers: Any
    body: Any


class Gateway:
    """The gateway under test; `session` is requests' own, so that `responses` can stand in for the network."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url.rstrip("/"), token
        self.session = requests.Session()
        self.session.trust_env = False

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """One call with the token; an ordinary 429 is waited out once, because the example limits calls."""
        for attempt in (1, 2):
            answer = self.once(method, path, body, **{"X-LLM-Caller-Token": self.token, **headers})
            if answer.status != 429 or attempt == 2:
                return answer
            time.sleep(checks.hint_seconds(answer.body))
        raise AssertionError("unreachable")

    def once(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name: value for name, value in headers.items() if value}
        response = self.session.request(
            method, self.url + path, json=body, headers=sent, timeout=TIMEOUT_S, allow_redirects=False
        )
        return Answer(response.status_code, response.headers, checks.parsed(response.text))

    def stream(self, body: Any) -> tuple[Answer, bytes]:
        for _ in (1, 2):
            headers = {"X-LLM-Caller-Token": self.token}
            url = f"{self.url}/mcp/chatStream"
            with self.session.post(
                url, json=body, headers=headers, timeout=TIMEOUT_S, stream=True
            ) as response:
                raw = b"".join(response.iter_content(None))
            answer = Answer(
                response.status_code, response.headers, checks.parsed(raw.decode("utf-8", "replace"))
            )
            if answer.status != 429:
                break
            time.sleep(checks.hint_seconds(answer.body))
        return answer, raw


def envelope(request_id: str, **more: Any) -> dict[str, Any]:
    return {"requestId": request_id, "callerTool": "uat", **more}


def chat(gateway: Gateway) -> list[str]:
    answer = gateway.call("POST", "/mcp/chat", envelope("uat-chat", messages=PROMPT, maxTokens=32))
    return checks.chat(answer, "uat-chat")


def chat_stream(gateway: Gateway) -> list[str]:
    answer, raw = gateway.stream(envelope("uat-stream", messages=PROMPT, maxTokens=32))
    return checks.stream(answer, raw)


def embed(gateway: Gateway) -> list[str] | None:
    listed = gateway.call("GET", "/mcp/models").body
    providers = listed.get("providers", []) if isinstance(listed, dict) else []
    if not any("embed" in provider.get("capabilities", ()) for provider in providers):
        return None
    inputs = ["The first text.", "The second text."]
    return checks.embed(
        gateway.call("POST", "/mcp/embed", envelope("uat-embed", inputs=inputs)), "uat-embed", 2
    )


def models(gateway: Gateway) -> list[str]:
    return checks.models(gateway.call("GET", "/mcp/models"))


def health(gateway: Gateway) -> list[str]:
    return checks.health(gateway.call("GET", "/health"), gateway.call("GET", "/mcp/models"))


def metrics(gateway: Gateway) -> list[str]:
    answer = gateway.call("GET", "/metrics")
    missing = answer.status != 200 or "llm_caller_calls_total" not in str(answer.body)
    return ["status or text is not that of the metrics"] if missing else []


def errors(gateway: Gateway) -> list[tuple[str, Callable[[], list[str]]]]:
    body = envelope("uat-error", messages=PROMPT)

    def row(
        status: int,
        code: str,
        method: str,
        path: str,
        sent: Any = None,
        *,
        reason: str | None = None,
        **headers: str,
    ) -> Callable[[], list[str]]:
        def check() -> list[str]:
            token = headers.pop("token", gateway.token)
            answer = gateway.once(method, path, sent, **{"X-LLM-Caller-Token": token, **headers})
            return checks.error(answer, status, code, reason)

        return check

    return [
        ("no token is a 401", row(401, "UNAUTHORIZED", "POST", "/mcp/chat", body, token="")),
        (
            "an unknown token is a 403",
            row(403, "FORBIDDEN", "POST", "/mcp/chat", body, token="no-such-token"),
        ),
        (
            "a missing requestId is a 400",
            row(400, "BAD_REQUEST", "POST", "/mcp/chat", {"callerTool": "uat"}, reason="VALIDATION_FAILED"),
        ),
        (
            "an unknown provider is a 404",
            row(
                404,
                "NOT_FOUND",
                "POST",
                "/mcp/chat",
                body | {"provider": "no-such"},
                reason="UNKNOWN_PROVIDER",
            ),
        ),
        (
            "an unknown model is a 404",
            row(404, "NOT_FOUND", "POST", "/mcp/chat", body | {"model": "no-such"}, reason="UNKNOWN_MODEL"),
        ),
        ("an unknown path is a 404", row(404, "NOT_FOUND", "GET", "/no-such-path")),
        ("another method is a 405", row(405, "METHOD_NOT_ALLOWED", "GET", "/mcp/chat")),
        (
            "another media type is a 415",
            row(415, "UNSUPPORTED_MEDIA_TYPE", "POST", "/mcp/chat", body, **{"Content-Type": "text/plain"}),
        ),
    ]


def rate_limit(gateway: Gateway, most: int = 30) -> list[str]:
    """Calls quickly until one is refused, waits as told, and is served again."""
    for _ in range(most):
        sent = envelope("uat-limit", messages=PROMPT, maxTokens=1)
        answer = gateway.once("POST", "/mcp/chat", sent, **{"X-LLM-Caller-Token": gateway.token})
        if answer.status == 429:
            break
    else:
        return [f"no 429 in {most} calls; set LLM_CALLER_RATE_LIMIT_MAX=5 (as the example does) and restart"]
    problems = checks.limited(answer)
    time.sleep(checks.hint_seconds(answer.body))
    sent = envelope("uat-limit-after", messages=PROMPT, maxTokens=1)
    again = gateway.once("POST", "/mcp/chat", sent, **{"X-LLM-Caller-Token": gateway.token})
    return problems + ([] if again.status == 200 else [f"status {again.status} after waiting as told"])


def run(gateway: Gateway, *, with_limit: bool) -> list[Row]:
    rows = [
        ("chat", lambda: chat(gateway)),
        ("chatStream", lambda: chat_stream(gateway)),
        ("embed", lambda: embed(gateway)),
        ("models", lambda: models(gateway)),
        ("health", lambda: health(gateway)),
        ("metrics", lambda: metrics(gateway)),
        *errors(gateway),
    ]
    results = [timed(name, check) for name, check in rows]
    if with_limit:
        results.append(timed("rate limit", lambda: rate_limit(gateway)))
    else:
        results.append(Row("rate limit (--rate-limit)", "skip", 0, []))
    return results


def timed(name: str, check: Callable[[], list[str] | None]) -> Row:
    began = time.monotonic()
    try:
        problems = check()
    except requests.RequestException as error:
        problems = [f"no answer ({type(error).__name__})"]
    took = (time.monotonic() - began) * 1000
    if problems is None:
        return Row(name, "skip", took, [])
    return Row(name, "fail" if problems else "pass", took, problems)


def print_table(rows: list[Row]) -> None:
    width = max(len(row.name) for row in rows)
    for row in rows:
        print(f"{row.result:4}  {row.name:{width}}  {row.milliseconds:8.0f} ms")
        for problem in row.problems:
            print(f"      {problem}")
    counts = {result: sum(row.result == result for row in rows) for result in ("pass", "fail", "skip")}
    print(f"\n{counts['pass']} passed, {counts['fail']} failed, {counts['skip']} skipped")


def print_hints(rows: list[Row]) -> None:
    told = "\n".join([row.name + " " + " ".join(row.problems) for row in rows if row.result == "fail"])
    hints = [hint for key, hint in HINTS.items() if key in told or key in told.lower()]
    if told:
        print("\nWhat to look at:")
        for hint in hints or ["the log on the server's stdout: one JSON line per call, with its callId"]:
            print(f"- {hint}")
        print("- docs/runbook.md, Troubleshooting")


def read_env_file(path: Path) -> dict[str, str]:
    """`NAME=value` lines; quotes around a value are taken off."""
    values: dict[str, str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.startswith("#"):
            value = value.strip()
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            values[name.strip()] = value[1:-1] if quoted else value
    return values


def settings() -> dict[str, str]:
    """The environment file's values under the process environment's."""
    file = read_env_file(ROOT / (os.environ.get("LLM_CALLER_ENV_FILE") or ".env"))
    return file | {name: value for name, value in os.environ.items() if value}


def wait_until_ready(gateway: Gateway, seconds: float) -> bool:
    until = time.monotonic() + seconds
    while True:
        try:
            if gateway.once("GET", "/readyz").status == 200:
                break
        except requests.RequestException:
            pass
        if time.monotonic() > until:
            return False
        time.sleep(0.5)
    wait_for_health(gateway, until)
    return True


def wait_for_health(gateway: Gateway, until: float) -> None:
    """A local model may still be loading. What is not well after a while is for the rows to say."""
    until = min(until, time.monotonic() + MODEL_LOADS_S)
    while time.monotonic() < until:
        answer = gateway.call("GET", "/health")
        if answer.status != 200 or answer.body.get("status") == "ok":
            return
        time.sleep(0.5)


def main() -> int:
    env = settings()
    default = f"http://{env.get('LLM_CALLER_HOST') or '127.0.0.1'}:{env.get('LLM_CALLER_PORT') or '4037'}"
    parser = argparse.ArgumentParser(description="Acceptance test of a running gateway.")
    parser.add_argument("--url", default=default, help="default: host and port of the environment")
    parser.add_argument("--token", default=env.get("UAT_CLIENT_TOKEN", ""), help="default: UAT_CLIENT_TOKEN")
    parser.add_argument("--rate-limit", action="store_true", help="also demonstrate the client's limit")
    parser.add_argument(
        "--wait", type=float, default=60, help="seconds to wait for a gateway that is starting"
    )
    options = parser.parse_args()
    if not options.token:
        print("run_uat: no token; ./uat/start_server.sh puts UAT_CLIENT_TOKEN into .env", file=sys.stderr)
        return 2
    gateway = Gateway(options.url, options.token)
    if not wait_until_ready(gateway, options.wait):
        print(f"run_uat: no gateway is ready at {options.url}; start ./uat/start_server.sh", file=sys.stderr)
        return 2
    rows = run(gateway, with_limit=options.rate_limit)
    print_table(rows)
    print_hints(rows)
    return 1 if any(row.result == "fail" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
