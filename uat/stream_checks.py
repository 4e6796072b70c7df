"""What the contract says of a stream: how its bytes fall into events, and which events come in which order."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from contract_checks import UNNAMED, Answer, call_id, message, provider_info, said, usage
from shapes import Rule, decoded, fields, given, items, name, text

DONE = "[DONE]"
_BLANK_LINE = re.compile(rb"\r?\n\r?\n")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def split_events(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Events as they arrive, each with its blank line; what is left at the end has none."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        while found := _BLANK_LINE.search(rest):
            yield rest[: found.end()]
            rest = rest[found.end() :]
    if rest:
        yield rest


def frame(event: bytes) -> dict[str, Any] | str:
    """The object of a `data:` line, `DONE`, or what is wrong."""
    if not _BLANK_LINE.search(event):
        return "the stream ends inside a frame"
    line = event.rstrip(b"\r\n")
    if not line.startswith(b"data: ") or b"\n" in line:
        return "a frame is not one `data:` line"
    data = decoded(line.removeprefix(b"data: "))
    if isinstance(data, dict) or data == DONE:
        return data
    return "a frame's data is not a JSON object"


def stream(answer: Answer, events: Iterable[bytes]) -> list[str]:
    if answer.status != 200:
        return [said(answer)]
    problems = call_id(answer)
    for header, value in (("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")):
        if not answer.headers.get(header, "").startswith(value):
            problems.append(f"{header} is {answer.headers.get(header)!r}, not {value}")
    frames = [frame(event) for event in events if not event.startswith(b":")]
    problems += [told for told in frames if isinstance(told, str) and told != DONE]
    if frames.count(DONE) != 1 or frames[-1] != DONE:
        problems.append("the stream does not end with one [DONE]; it stopped early")
    return problems + sequence([told for told in frames if isinstance(told, dict)])


def sequence(frames: list[dict[str, Any]]) -> list[str]:
    """Deltas, then one completion that holds all of their text."""
    if failed := [told for told in frames if "error" in told]:
        return [f"the stream failed with {failed[0]['error']}: {failed[0].get('message')}"]
    kinds = [told.get("type") for told in frames]
    if kinds.count("completion") != 1 or kinds[-1] != "completion":
        return ["the stream does not have exactly one completion, after all deltas"]
    if set(kinds[:-1]) != {"delta"}:
        return [f"before the completion come {sorted({str(kind) for kind in kinds[:-1]})}, not deltas"]
    problems = [problem for told in frames[:-1] for problem in delta(told)]
    problems += completion(frames[-1])
    if problems:
        return problems
    parts = [told["delta"].get("content") or "" for told in frames[:-1]]
    whole = frames[-1]["payload"]["message"]["content"]
    return [] if "".join(parts) == whole else ["the deltas together are not the completion's message"]


def delta(told: dict[str, Any]) -> list[str]:
    if problems := fields("", told, {"type": name, "delta": given, "traceId": name}):
        return problems
    inner = told["delta"]
    problems = fields("delta", inner, {}, {"role": name, "content": text, "toolCalls": items})
    if not problems and _CONTROL.search(inner.get("content", "")):
        problems.append("delta.content has control characters that sanitising removes")
    return problems


def completion(told: dict[str, Any]) -> list[str]:
    if problems := fields("", told, {"type": name, "payload": given, "traceId": name}):
        return problems
    payload = told["payload"]
    parts: dict[str, Rule] = {"message": given, "usage": given, "providerInfo": given}
    if problems := fields("payload", payload, parts):
        return problems
    return [
        *message("payload.message", payload["message"]),
        *usage("payload.usage", payload["usage"]),
        *provider_info("payload.providerInfo", payload["providerInfo"], "chatStream", UNNAMED),
    ]
