#!/usr/bin/env python3
"""Acceptance test of a running gateway, from outside: every endpoint, checked against the contract.

    ./uat/run_uat.py [--url URL] [--token TOKEN] [--rate-limit [CALLS]] [--wait SECONDS]

Exit code 0 when nothing failed, 1 when a row failed, 2 when no gateway answers or there is no token.
"""

import argparse
import fcntl
import importlib.util
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
VENV = Path(os.environ.get("LLM_CALLER_VENV") or HERE.parent / ".venv")


def wait_for_a_start() -> None:
    """While ./uat/start_server.sh installs and prepares, there is neither `requests` nor a token yet."""
    path = VENV.parent / f".{VENV.name.lstrip('.')}.lock"
    if not path.exists():
        return
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            print("run_uat: ./uat/start_server.sh is at work; waiting for it", file=sys.stderr)
            fcntl.flock(lock, fcntl.LOCK_SH)


def restart_with_requests() -> None:
    """Goes on in the checkout's environment. Its python may link to this very one: the prefix tells them apart."""
    python = VENV / "bin" / "python"
    if python.exists() and Path(sys.prefix).resolve() != VENV.resolve():
        os.execv(python, [str(python), str(HERE / "run_uat.py"), *sys.argv[1:]])
    sys.exit("run_uat: the package `requests` is missing; run ./uat/start_server.sh once, it installs it")


if __name__ == "__main__":
    wait_for_a_start()
if importlib.util.find_spec("requests") is None:
    restart_with_requests()
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

import requests
import uat_rows
from contract_checks import served
from gateway_client import Gateway, default_url, settings

MODEL_LOADS_S = 20
LIMIT_CALLS = 30
ISSUE = f".venv/bin/python manage.py issue_token uat --methods {uat_rows.METHODS}, and set UAT_CLIENT_TOKEN in .env"
HINTS: tuple[tuple[str, str], ...] = (
    (r"FORBIDDEN: Unknown client token", f"the token is not in the registry, revoked or expired: {ISSUE}"),
    (r"FORBIDDEN: Client not permitted", f"the client lacks this method; grant it in the admin, or: {ISSUE}"),
    (r"FORBIDDEN: (Loopback|Address)", "your address is not in LLM_CALLER_ALLOWED_NETWORKS, or not in the client's"),
    (r"UNAUTHORIZED:", "no token arrived; does a proxy between drop the header X-LLM-Caller-Token?"),
    (r"(status \d+|failed with) CONFIG:", "no enabled provider with a credential has the capability: set "
     "OPENAI_API_KEY or ANTHROPIC_API_KEY, or enable a provider in the admin"),
    (r"(status \d+|failed with) AUTH:", "the provider refused its credential; check the key that its entry names"),
    (r"(status \d+|failed with) (TEMPORARY|PERMANENT|DEADLINE_EXCEEDED):", "the provider failed or cannot be "
     "reached: is it running with a model loaded (LM Studio: port 1234)? See /health and `dispatch failed` in the log"),
    (r"AUDIT_UNAVAILABLE:", "the record cannot be written: free space and rights of LLM_CALLER_STATE_DIR"),
    (r"OVERLOADED:|not ready", "the server is starting, stopping or overloaded; see its log"),
    (r"no 429 in", "the limit is off or higher: LLM_CALLER_RATE_LIMIT_MAX (the example sets 5), the client's own limit"),
    (r"RATE_LIMIT:", "a limit was reached again at once: `Rate limit exceeded` in the log; is the token in use elsewhere?"),
    (r"(?s)^health is ok:.* is failed", "failed: a probe got no answer; check that the provider runs, its base URL "
     "and the network between"),
    (r"^health is ok:", "degraded: the provider answered its probe with a warning (LM Studio: an error status, or no "
     "model loaded); see its log or restart it"),
    (r"^chatStream:.*stopped early", "rate limit reached, or the provider broke off: `Rate limit exceeded` and `Stream "
     "dispatch failed` in the log"),
    (r"no answer", "the server closed the connection or is too slow; is it still running? See its log"),
    (r"status 404", "is it LLM Caller that listens there? Check --url, LLM_CALLER_HOST and LLM_CALLER_PORT"),
    (r"capability defaults:", "compare `defaults` in config/providers.json; a client's allowedModels hides models"),
    (r"", "the answer differs from the contract (docs/clients.md); look for the call in the log"),
)  # fmt: skip


class Row(NamedTuple):
    """`result`: pass, fail or skip. `notes`: what does not hold, or a remark on what does."""

    name: str
    result: str
    milliseconds: float
    notes: Sequence[str]


def run_row(gateway: Gateway, name: str, check: uat_rows.Check) -> Row:
    """The time is that of the calls; waiting as a limit asks for is not in it."""
    gateway.note, gateway.spent_ms = "", 0.0
    try:
        problems = check(gateway)
    except uat_rows.Skipped as skipped:
        return Row(name, "skip", gateway.spent_ms, [str(skipped)])
    except requests.RequestException as error:
        problems = [f"no answer ({type(error).__name__})"]
    result = "fail" if problems else "pass"
    return Row(name, result, gateway.spent_ms, problems or ([gateway.note] if gateway.note else []))


def run(gateway: Gateway, limit_calls: int | None) -> list[Row]:
    """A gateway that is not ready is asked nothing more."""
    rows = [run_row(gateway, name, check) for name, check in uat_rows.FIRST.items()]
    if any(row.result == "fail" for row in rows):
        return rows
    rows += [run_row(gateway, name, check) for name, check in uat_rows.ROWS.items()]
    if limit_calls is None:
        return [*rows, Row("rate limit", "skip", 0, ["ask for it with --rate-limit"])]
    return [*rows, run_row(gateway, "rate limit", partial(uat_rows.rate_limit, most=limit_calls))]


def wait_for_token(options: argparse.Namespace) -> bool:
    """A start that has only just begun issues it before it serves; a server that runs without one never will."""
    until = time.monotonic() + options.wait
    while time.monotonic() < until and unready(Gateway(options.url, "")):
        time.sleep(0.2)
        options.token = (settings().get("UAT_CLIENT_TOKEN") or "").strip()
        if options.token:
            return True
    return False


def wait_until_ready(gateway: Gateway, seconds: float) -> str:
    """Until ready, and a while longer until all is well, for a local model may still load. What is not well
    after that is for the rows to say. Returns why nothing at all could be asked, else ""."""
    until = time.monotonic() + seconds
    told = False
    while reason := unready(gateway):
        if time.monotonic() >= until:
            return reason if reason != "starting" else ""
        if not told:
            print(f"Waiting for {gateway.url}: {reason} (at most {seconds:.0f} s)", file=sys.stderr)
            told = True
        time.sleep(0.5)
    until = min(until, time.monotonic() + MODEL_LOADS_S)
    while time.monotonic() < until and still_loads(gateway):
        time.sleep(0.5)
    return ""


def unready(gateway: Gateway) -> str:
    """Why it cannot be asked yet; "starting" when it answers but is not ready."""
    try:
        return "" if gateway.once("GET", "/readyz", X_LLM_Caller_Token="").status == 200 else "starting"
    except requests.ConnectionError as error:
        return "connection refused" if "refused" in str(error).lower() else "no connection"
    except requests.RequestException as error:
        return f"no answer, {type(error).__name__}"


def still_loads(gateway: Gateway) -> bool:
    try:
        answer = gateway.call("GET", "/health")
    except requests.RequestException:
        return False
    return not served(answer) and answer.body.get("status") != "ok"


def hint(row: Row) -> str:
    told = f"{row.name}: " + "\n".join(row.notes)
    return next(text for pattern, text in HINTS if re.search(pattern, told))


def table(rows: Sequence[Row]) -> list[str]:
    width = max(len(row.name) for row in rows)
    lines = []
    for row in rows:
        took = f"{row.milliseconds:8.0f} ms" if row.milliseconds else " " * 11
        remark = "" if row.result == "fail" else f"  {'; '.join(row.notes)}"
        lines.append(f"{row.result}  {row.name:{width}}  {took}{remark}".rstrip())
        lines += [f"      {note}" for note in row.notes if row.result == "fail"]
    counts = ", ".join(
        f"{sum(row.result == key for row in rows)} {word}"
        for key, word in (("pass", "passed"), ("fail", "failed"), ("skip", "skipped"))
    )
    return [*lines, "", counts]


def advice(rows: Sequence[Row]) -> list[str]:
    failed = [row for row in rows if row.result == "fail"]
    if not failed:
        return []
    hints = [f"- {row.name}: {hint(row)}" for row in failed]
    return ["", "What to look at:", *hints, "See also docs/runbook.md, Troubleshooting."]


def printable(line: str, token: str) -> str:
    """What others said goes to a terminal: no control characters, and never the token."""
    shown = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in line)
    return shown.replace(token, "•••")


def parse_arguments(arguments: Sequence[str] | None, env: Mapping[str, str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Acceptance test of a running gateway, from outside.")
    parser.add_argument("--url", default=default_url(env), help="default: host and port of the environment")
    parser.add_argument("--token", help="default: UAT_CLIENT_TOKEN of the environment or its file")
    parser.add_argument("--rate-limit", type=int, nargs="?", const=LIMIT_CALLS, metavar="CALLS",
                        help=f"also reach the client's limit, with at most so many calls ({LIMIT_CALLS})")  # fmt: skip
    parser.add_argument("--wait", type=float, default=60, help="seconds that a start may take (60)")
    options = parser.parse_args(arguments)
    options.token = (options.token or env.get("UAT_CLIENT_TOKEN") or "").strip()
    if not options.url.startswith(("http://", "https://")):
        parser.error("--url starts with http:// or https://")
    if not (options.token.isascii() and options.token.isprintable()):
        parser.error("the token has characters that no header can carry")
    if options.rate_limit is not None and options.rate_limit < 1:
        parser.error("--rate-limit takes a number of at least 1")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments, settings())
    if not options.token and not wait_for_token(options):
        print("run_uat: no token; ./uat/start_server.sh puts UAT_CLIENT_TOKEN into .env", file=sys.stderr)
        return 2
    gateway = Gateway(options.url, options.token)
    if reason := wait_until_ready(gateway, options.wait):
        say = (
            f"run_uat: {reason} at {options.url}; is the server running? Start it with ./uat/start_server.sh"
        )
        print(printable(say, options.token), file=sys.stderr)
        return 2
    rows = run(gateway, options.rate_limit)
    for line in [f"LLM Caller at {options.url}", "", *table(rows), *advice(rows)]:
        print(printable(line, options.token))
    return 1 if any(row.result == "fail" for row in rows) else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
