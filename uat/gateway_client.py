"""HTTP towards the gateway under test, and where to find it."""

import json
import os
import re
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests
from contract_checks import Answer, hinted_wait
from shapes import decoded
from stream_checks import split_events

ROOT = Path(__file__).resolve().parent.parent
TIMEOUT_S = (5, 180)
"""To connect, and between two pieces of an answer: a first answer of a local model is slow."""
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?(\w+)\s*=\s*(.*)", re.ASCII)
_QUOTED = re.compile(r"(['\"])(.*?)\1\s*(?:#.*)?")


class Gateway:
    """One gateway as one client sees it. `note` and `spent_ms` are of the row that runs."""

    def __init__(self, url: str, token: str) -> None:
        self.url, self.token = url.rstrip("/"), token
        self.note, self.spent_ms = "", 0.0
        self.providers: dict[str, list[str]] | None = None

    def call(self, method: str, path: str, body: Any = None) -> Answer:
        """With the token; a 429 is waited out once, for the example's limit also counts these calls."""
        answer = self.once(method, path, body)
        if answer.status == 429:
            time.sleep(hinted_wait(answer))
            answer = self.once(method, path, body)
        return answer

    def once(self, method: str, path: str, body: Any = None, **changed: str) -> Answer:
        """`changed`: headers, by names with `_` for `-`, in place of the usual ones; an empty one is not sent."""
        began = time.monotonic()
        with self._send(method, path, body, changed) as response:
            answer = Answer(response.status_code, response.headers, decoded(response.content))
        self.spent_ms += (time.monotonic() - began) * 1000
        return answer

    def stream(self, body: Any) -> tuple[Answer, list[bytes]]:
        """The answer's head and its events; the body of a refusal is in the answer, as with other calls."""
        answer, events = self._stream_once(body)
        if answer.status == 429:
            time.sleep(hinted_wait(answer))
            answer, events = self._stream_once(body)
        return answer, events

    def _stream_once(self, body: Any) -> tuple[Answer, list[bytes]]:
        began = time.monotonic()
        events: list[bytes] = []
        with self._send("POST", "/mcp/chatStream", body, {}) as response:
            if response.status_code != 200:
                return Answer(response.status_code, response.headers, decoded(response.content)), events
            for event in split_events(response.iter_content(chunk_size=None)):
                if not events:
                    self.note = f"first event after {(time.monotonic() - began) * 1000:.0f} ms"
                events.append(event)
        self.spent_ms += (time.monotonic() - began) * 1000
        return Answer(response.status_code, response.headers, None), events

    def _send(self, method: str, path: str, body: Any, changed: Mapping[str, str]) -> requests.Response:
        headers = {"X-LLM-Caller-Token": self.token}
        if body is not None:
            headers["Content-Type"] = "application/json"
        headers |= {name.replace("_", "-"): value for name, value in changed.items()}
        with requests.Session() as session:
            # No proxy, and no credentials of ~/.netrc: they would answer for the token that a row leaves out.
            session.trust_env = False
            session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or True
            return session.request(
                method,
                self.url + path,
                data=None if body is None else json.dumps(body),
                headers={name: value for name, value in headers.items() if value},
                timeout=TIMEOUT_S,
                allow_redirects=False,
                stream=True,
            )


def envelope(**more: Any) -> dict[str, Any]:
    return {"requestId": f"uat-{uuid.uuid4().hex[:12]}", "callerTool": "uat", **more}


def parse_env(lines: str) -> dict[str, str]:
    """`NAME=value` lines with quotes and comments; of two values for one name the first that is not empty."""
    values: dict[str, str] = {}
    for line in lines.splitlines():
        if found := _ASSIGNMENT.fullmatch(line):
            quoted = _QUOTED.fullmatch(found[2])
            value = quoted[2] if quoted else re.split(r"(?:^|\s)#", found[2])[0].strip()
            values[found[1]] = values.get(found[1]) or value
    return values


def settings() -> dict[str, str]:
    """The environment file under the process environment, which alone can name the file."""
    path = ROOT / (os.environ.get("LLM_CALLER_ENV_FILE") or ".env")
    file = parse_env(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return file | {name: value for name, value in os.environ.items() if value}


def default_url(env: Mapping[str, str]) -> str:
    host = env.get("LLM_CALLER_HOST") or "127.0.0.1"
    host = EVERYWHERE.get(host, host)
    return f"http://{f'[{host}]' if ':' in host else host}:{env.get('LLM_CALLER_PORT') or '4037'}"
