"""One log line is one JSON object, redacted at any depth (contract §5, promise 18)."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from logged import lines, logging_to, one_line

from telemetry.logs import LEVELS, Redactor

PAYLOAD_KEYS = [
    "prompt", "systemPrompt", "PROMPT_TOKENS_TEXT", "content", "Content-Type", "payload", "rawPayload", "body",
    "requestBody", "transcript", "delta", "Deltas", "messages", "completion", "rawError", "rawResponse",
]  # fmt: skip
CREDENTIAL_KEYS = [
    "authorization", "Authorization", "apiKey", "api_key", "API-KEY", "openaiApiKey", "password", "secret",
    "clientSecret", "cookie", "Set-Cookie", "credential", "storedCredentials", "pepper", "privateKey", "sessionId",
    "token", "Token", "clientToken", "access_token", "refreshToken", "bearerToken", "X-LLM-Caller-Token",
]  # fmt: skip
PLAIN_KEYS = [
    "message", "Messages", "MESSAGES", "completions", "rawerror", "provider", "tokenHash", "tokenId", "inputTokens",
    "requestId", "maxTokens", "monkey",
]  # fmt: skip


def redacted(value: Any, **options: Any) -> tuple[Any, list[str]]:
    found: set[str] = set()
    return Redactor(**options).apply(value, found), sorted(found)


@pytest.mark.parametrize("key", PAYLOAD_KEYS)
def test_a_payload_is_redacted_unless_that_is_lifted(key: str) -> None:
    assert redacted({key: "canary"}) == ({key: "[redacted]"}, [key])
    assert redacted({key: "canary"}, payloads=False) == ({key: "canary"}, [])


@pytest.mark.parametrize("key", CREDENTIAL_KEYS)
def test_a_credential_is_redacted_whatever_is_lifted(key: str) -> None:
    assert redacted({key: ["canary"]}) == ({key: "[redacted]"}, [key])
    assert redacted({key: {"a": 1}}, payloads=False) == ({key: "[redacted]"}, [key])


@pytest.mark.parametrize("key", PLAIN_KEYS)
def test_what_is_no_secret_stays(key: str) -> None:
    assert redacted({key: 1}) == ({key: 1}, [])


@given(
    st.lists(st.sampled_from(["dict", "list", "tuple", "set"]), max_size=25),
    st.sampled_from(PAYLOAD_KEYS + CREDENTIAL_KEYS),
)
def test_no_depth_hides_a_secret(nesting: list[str], key: str) -> None:
    value: Any = {key: "canary", "kept": 1}
    for kind in nesting:
        value = {"dict": {"inner": value}, "list": [0, value], "tuple": (value,), "set": [value, {"x"}]}[kind]
    clean, found = redacted(value)
    assert found == [key]
    assert "canary" not in json.dumps(clean)
    assert '"kept": 1' in json.dumps(clean)


def test_what_is_deeper_than_the_limit_is_redacted_whole() -> None:
    value: Any = {"kept": "canary"}
    for _ in range(40):
        value = {"inner": [value]}
    clean, _ = redacted(value)
    assert "canary" not in json.dumps(clean)
    endless: dict[str, Any] = {}
    endless["self"] = endless
    assert "[redacted]" in json.dumps(redacted(endless)[0])


def test_objects_are_told_by_their_type_and_the_caller_s_value_is_left_alone() -> None:
    value = {"error": ValueError("canary"), "bytes": b"canary", 5: None, "inner": {"body": "x"}}
    assert redacted(value)[0] == {
        "error": "<ValueError>",
        "bytes": "<bytes>",
        "5": None,
        "inner": {"body": "[redacted]"},
    }
    assert value["inner"] == {"body": "x"}


def test_a_line_has_the_contract_s_members(tmp_path: Path) -> None:
    line = one_line(
        tmp_path, "chat request completed", request_id="r", trace_id="t", metadata={"a": {"b": [1.5, None]}}
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
    assert line == {
        "level": "info", "message": "chat request completed", "requestId": "r", "traceId": "t",
        "metadata": {"a": {"b": [1.5, None]}},
    }  # fmt: skip


def test_a_warn_line_names_the_keys_that_were_redacted(tmp_path: Path) -> None:
    with logging_to(tmp_path / "out") as log:
        log.info(
            "said", request_id="r", trace_id="t", metadata={"b": [{"prompt": 1}], "apiKey": 2, "fine": 3}
        )
    said, warned = lines(tmp_path / "out")
    assert said["metadata"] == {"b": [{"prompt": "[redacted]"}], "apiKey": "[redacted]", "fine": 3}
    assert (warned["level"], warned["message"]) == ("warn", "Sensitive log metadata redacted")
    assert (warned["metadata"], warned["requestId"]) == ({"keys": ["apiKey", "prompt"]}, "r")


@pytest.mark.parametrize("level", LEVELS)
def test_only_lines_of_the_level_and_above_are_written(tmp_path: Path, level: str) -> None:
    with logging_to(tmp_path / "out", level=level) as log:
        for name in LEVELS:
            getattr(log, name)("said")
    assert [line["level"] for line in lines(tmp_path / "out")] == list(LEVELS)[: LEVELS[level] + 1]
