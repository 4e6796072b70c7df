"""What the contract says of chat, embed, metrics and errors, as pure checks.

Each returns the list of what does not hold, in words.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from shapes import Rule, count, fields, flag, given, items, name, names, number, positive, text

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
UNNAMED = ("capability-default", "fallback")
"""The strategies of a call that names neither provider nor model."""
NAMED = ("caller-override", "fallback")
FINISH = ("stop", "length", "tool_calls", "content_filter", "other")
_SAMPLE = re.compile(r"[a-zA-Z_:][\w:]*(\{.*\})? (-?[\d.]+(e[+-]?\d+)?|[+-]Inf|NaN)( \d+)?", re.ASCII)


class Answer(NamedTuple):
    """`headers` looks names up whatever their case; `body` is parsed JSON, or the text when it is not JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Expected(NamedTuple):
    """An error of the contract's table."""

    status: int
    code: str
    reason: str | None = None
    message: str | None = None


def said(answer: Answer) -> str:
    """Status, code and message in one phrase, which the hints go by."""
    body = answer.body if isinstance(answer.body, dict) else {}
    return f"status {answer.status} {body.get('error', 'without an error code')}: {body.get('message', '')}"


def served(answer: Answer) -> list[str]:
    if answer.status != 200:
        return [said(answer)]
    if not isinstance(answer.body, dict):
        return ["the body is not a JSON object"]
    return json_type(answer)


def json_type(answer: Answer) -> list[str]:
    kind = answer.headers.get("Content-Type", "")
    return [] if kind.startswith("application/json") else [f"Content-Type is {kind!r}, not application/json"]


def call_id(answer: Answer) -> list[str]:
    value = answer.headers.get("X-LLM-Caller-Call-Id", "")
    return [] if UUID7.fullmatch(value) else [f"X-LLM-Caller-Call-Id {value!r} is not a UUIDv7"]


def retry_hint(answer: Answer) -> list[str]:
    """The header and the body's member come together and agree (whole seconds, rounded up)."""
    hint, header = answer.body.get("retryAfterMs"), answer.headers.get("Retry-After")
    if hint is None and header is None:
        return []
    if not count(hint) or header != str(-(-hint // 1000)):
        return [f"Retry-After {header!r} is not retryAfterMs {hint!r} in whole seconds, rounded up"]
    return []


def usage(where: str, value: Any, *, output_required: bool = True) -> list[str]:
    always = {"inputTokens": count, "totalTokens": count}
    output = {"outputTokens": count}
    required = always | output if output_required else always
    problems = fields(where, value, required, {"reported": flag} | output)
    if not problems and value["inputTokens"] + value.get("outputTokens", 0) != value["totalTokens"]:
        return [f"{where}.totalTokens is not the sum of input and output"]
    return problems


def provider_info(where: str, value: Any, capability: str, strategies: tuple[str, ...]) -> list[str]:
    required: dict[str, Rule] = {"name": name, "model": name, "routing": given}
    finish: dict[str, Rule] = {"finishReason": name}
    problems = fields(where, value, required if capability == "embed" else required | finish, finish)
    if problems:
        return problems
    if value.get("finishReason", "stop") not in FINISH:
        problems.append(f"{where}.finishReason is {value['finishReason']!r}")
    return problems + routing(f"{where}.routing", value["routing"], capability, strategies)


def routing(where: str, value: Any, capability: str, strategies: tuple[str, ...]) -> list[str]:
    required: dict[str, Rule] = {"capability": name, "strategy": name, "attempts": positive}
    if problems := fields(where, value, required, {"fallbackFrom": names}):
        return problems
    if value["capability"] != capability:
        problems.append(f"{where}.capability is {value['capability']!r}, not {capability!r}")
    if value["strategy"] not in strategies:
        problems.append(f"{where}.strategy is {value['strategy']!r}, not {' or '.join(strategies)}")
    failed = value.get("fallbackFrom", [])
    if failed and (value["strategy"] != "fallback" or value["attempts"] <= len(failed)):
        problems.append(f"{where}.fallbackFrom does not fit strategy and attempts")
    return problems


def message(where: str, value: Any) -> list[str]:
    problems = fields(where, value, {"role": name, "content": text}, {"toolCalls": items})
    if problems:
        return problems
    if value["role"] != "assistant":
        problems.append(f"{where}.role is {value['role']!r}, not 'assistant'")
    return problems if value["content"] else [*problems, f"{where}.content is empty"]


def chat(answer: Answer, request_id: str, strategies: tuple[str, ...] = UNNAMED) -> list[str]:
    if problems := served(answer):
        return problems
    body = answer.body
    return [
        *_envelope(answer, request_id, {"message": given}),
        *_nested(body, "message", message),
        *_nested(body, "usage", usage),
        *_nested(body, "providerInfo", lambda at, value: provider_info(at, value, "chat", strategies)),
    ]


def embed(answer: Answer, request_id: str, inputs: int) -> list[str]:
    if problems := served(answer):
        return problems
    body = answer.body
    return [
        *_envelope(answer, request_id, {"vectors": items}),
        *vectors(body.get("vectors"), inputs),
        *_nested(body, "usage", lambda at, value: usage(at, value, output_required=False)),
        *_nested(body, "providerInfo", lambda at, value: provider_info(at, value, "embed", UNNAMED)),
    ]


def _envelope(answer: Answer, request_id: str, more: dict[str, Rule]) -> list[str]:
    required: dict[str, Rule] = {"requestId": text, "traceId": name, "usage": given, "providerInfo": given}
    problems = fields("", answer.body, required | more, {"retryAfterMs": count})
    if answer.body.get("requestId") != request_id:
        problems.append("requestId is not the one that was sent")
    return problems + call_id(answer) + retry_hint(answer)


def _nested(body: dict[str, Any], key: str, check: Callable[[str, Any], list[str]]) -> list[str]:
    """A member that is missing has been reported as such."""
    return check(key, body[key]) if body.get(key) is not None else []


def vectors(value: Any, inputs: int) -> list[str]:
    rows = value if isinstance(value, list) else []
    if len(rows) != inputs:
        return [f"vectors are {len(rows)}, not one for each of {inputs} inputs"]
    if not all(isinstance(row, list) and row and all(number(entry) for entry in row) for row in rows):
        return ["vectors hold something else than finite numbers"]
    return [] if len({len(row) for row in rows}) == 1 else ["vectors differ in length"]


def metrics(answer: Answer) -> list[str]:
    if answer.status != 200:
        return [said(answer)]
    kind = answer.headers.get("Content-Type", "")
    problems = [] if kind.startswith("text/plain") else [f"Content-Type is {kind!r}, not text/plain"]
    lines = [line for line in str(answer.body).splitlines() if line and not line.startswith("#")]
    problems += [f"not a Prometheus sample: {line[:60]}" for line in lines if not _SAMPLE.fullmatch(line)][:3]
    return problems if any("chat" in line for line in lines) else [*problems, "no sample tells of chat calls"]


def error(answer: Answer, expected: Expected) -> list[str]:
    body = answer.body
    if not isinstance(body, dict) or (answer.status, body.get("error")) != expected[:2]:
        return [f"{said(answer)}; expected {expected.status} {expected.code}"]
    required: dict[str, Rule] = {"error": name, "message": name, "traceId": name}
    problems = fields("", body, required, {"reason": name, "details": items, "retryAfterMs": count})
    for place, entry in enumerate(body.get("details") or ()):
        problems += fields(f"details[{place}]", entry, {"path": text, "message": name})
    for key in ("reason", "message"):
        wanted = getattr(expected, key)
        if wanted is not None and body.get(key) != wanted:
            problems.append(f"{key} is {body.get(key)!r}, not {wanted!r}")
    if body.get("traceId") != answer.headers.get("X-LLM-Caller-Call-Id"):
        problems.append("traceId is not the call id of X-LLM-Caller-Call-Id")
    return problems + call_id(answer) + json_type(answer) + retry_hint(answer)


def names_request_id(answer: Answer) -> list[str]:
    details = answer.body.get("details") if isinstance(answer.body, dict) else None
    if any(isinstance(entry, dict) and entry.get("path") == "requestId" for entry in details or ()):
        return []
    return ["details do not name requestId"]


def header_has(answer: Answer, header: str, word: str) -> list[str]:
    value = answer.headers.get(header, "")
    words = [part.strip() for part in value.split(",")]
    return [] if word in words else [f"{header} is {value!r}, without {word}"]


def limited(answer: Answer) -> list[str]:
    problems = error(answer, Expected(429, "RATE_LIMIT", None, "Too many requests; slow down."))
    if isinstance(answer.body, dict) and not positive(answer.body.get("retryAfterMs")):
        problems.append("the 429 has no retryAfterMs")
    return problems


def hinted_wait(answer: Answer) -> float:
    """Seconds that a 429 asks to wait, with a little on top for the two clocks."""
    hint = answer.body.get("retryAfterMs") if isinstance(answer.body, dict) else None
    return min(hint if count(hint) else 1_000, 60_000) / 1000 + 0.05
