"""What the contract says of each answer, as pure checks: each returns what does not hold."""

import json
import re
from typing import Any

UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
STRATEGIES = {"capability-default", "caller-override", "fallback"}
FINISH = {"stop", "length", "tool_calls", "content_filter", "other"}
OWN_PARTS = {"transport", "orchestrator", "audit", "database"}


def parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def hint_seconds(body: Any) -> float:
    """How long a 429 asks to wait, with a little on top for two clocks."""
    hint = body.get("retryAfterMs", 1000) if isinstance(body, dict) else 1000
    return min(float(hint), 60_000) / 1000 + 0.05


def served(answer: Any) -> list[str]:
    """An error names its code, which the hints go by."""
    if answer.status == 200 and isinstance(answer.body, dict):
        return []
    code = answer.body.get("error") if isinstance(answer.body, dict) else None
    message = answer.body.get("message") if isinstance(answer.body, dict) else None
    return [f"status {answer.status} {code or 'and no JSON error'}: {message}"]


def call_id(answer: Any) -> list[str]:
    value = answer.headers.get("X-LLM-Caller-Call-Id", "")
    return [] if UUID7.fullmatch(value) else ["X-LLM-Caller-Call-Id is no UUIDv7"]


def only(body: dict[str, Any], required: set[str], optional: set[str]) -> list[str]:
    problems = [f"`{name}` is missing" for name in sorted(required - set(body))]
    return problems + [f"`{name}` is not of the contract" for name in sorted(set(body) - required - optional)]


def usage(value: Any) -> list[str]:
    if not isinstance(value, dict) or not {"inputTokens", "outputTokens", "totalTokens"} <= set(value):
        return ["usage lacks a count"]
    fits = value["totalTokens"] >= max(value["inputTokens"], value["outputTokens"])
    return [] if fits else ["usage does not add up"]


def provider_info(value: Any, capability: str) -> list[str]:
    if not isinstance(value, dict) or not value.get("name") or not value.get("model"):
        return ["providerInfo lacks name or model"]
    routing = value.get("routing") or {}
    problems = []
    if routing.get("capability") != capability:
        problems.append(f"routing.capability is {routing.get('capability')!r}, not {capability!r}")
    if routing.get("strategy") not in STRATEGIES:
        problems.append(f"routing.strategy is {routing.get('strategy')!r}")
    if not isinstance(routing.get("attempts"), int) or routing["attempts"] < 1:
        problems.append("routing.attempts is less than 1")
    if capability != "embed" and value.get("finishReason") not in FINISH:
        problems.append(f"finishReason is {value.get('finishReason')!r}")
    return problems


def message(value: Any) -> list[str]:
    if (
        not isinstance(value, dict)
        or value.get("role") != "assistant"
        or not isinstance(value.get("content"), str)
    ):
        return ["message is not an assistant's text"]
    return [] if value["content"] or value.get("toolCalls") else ["message is empty"]


def chat(answer: Any, request_id: str) -> list[str]:
    if problems := served(answer):
        return problems
    body = answer.body
    problems = only(body, {"requestId", "traceId", "message", "usage", "providerInfo"}, {"retryAfterMs"})
    if body.get("requestId") != request_id:
        problems.append("requestId is not echoed")
    return [
        *problems,
        *call_id(answer),
        *message(body.get("message")),
        *usage(body.get("usage")),
        *provider_info(body.get("providerInfo"), "chat"),
    ]


def embed(answer: Any, request_id: str, count: int) -> list[str]:
    if problems := served(answer):
        return problems
    body = answer.body
    problems = only(body, {"requestId", "traceId", "vectors", "usage", "providerInfo"}, {"retryAfterMs"})
    vectors = body.get("vectors") or []
    if body.get("requestId") != request_id:
        problems.append("requestId is not echoed")
    if len(vectors) != count or len({len(vector) for vector in vectors}) != 1 or not vectors[0]:
        problems.append(f"vectors are not {count} of one length")
    elif vectors[0] == vectors[1]:
        problems.append("two different texts have the same vector")
    return [*problems, *call_id(answer), *provider_info(body.get("providerInfo"), "embed")]


def stream(answer: Any, raw: bytes) -> list[str]:
    if answer.status != 200:
        return served(answer)
    problems = call_id(answer)
    if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
        problems.append("the stream is not text/event-stream")
    if answer.headers.get("Cache-Control") != "no-cache":
        problems.append("the stream lacks Cache-Control: no-cache")
    data = [block[6:] for block in raw.decode().split("\n\n") if block.startswith("data: ")]
    if not data or data[-1] != "[DONE]":
        return [*problems, "the stream does not end with [DONE]"]
    return problems + frames([parsed(text) for text in data[:-1]])


def frames(events: list[Any]) -> list[str]:
    failed = [event for event in events if "error" in event]
    if failed:
        return [f"the stream failed: {failed[0].get('error')}: {failed[0].get('message')}"]
    completions = [event for event in events if event.get("type") == "completion"]
    if len(completions) != 1 or events[-1] is not completions[0]:
        return ["the stream does not have exactly one completion, at its end"]
    text = "".join(event["delta"].get("content") or "" for event in events if event.get("type") == "delta")
    payload = completions[0].get("payload") or {}
    problems = message(payload.get("message")) + provider_info(payload.get("providerInfo"), "chatStream")
    if not problems and text != payload["message"]["content"]:
        problems.append("the deltas together are not the completion's message")
    return problems + usage(payload.get("usage"))


def models(answer: Any) -> list[str]:
    if problems := served(answer):
        return problems
    problems = only(answer.body, {"provider", "models", "providers"}, set())
    for provider in answer.body.get("providers", []):
        needed = {"name", "capabilities", "defaults", "scores", "status", "models"}
        problems += [f"{provider.get('name')}: {problem}" for problem in only(provider, needed, set())]
        listed = {
            capability for model in provider.get("models", []) for capability in model.get("defaults", ())
        }
        if missing := set(provider.get("defaults", {})) - listed:
            problems.append(
                f"{provider.get('name')}: no model is marked as default of {', '.join(sorted(missing))}"
            )
    if not answer.body.get("providers"):
        problems.append("no provider is listed; enable one in the admin")
    return problems


def health(answer: Any, listed: Any) -> list[str]:
    if problems := served(answer):
        return problems
    body = answer.body
    parts = {part.get("name"): part for part in body.get("components", [])}
    problems = [f"component {name} is missing" for name in sorted(OWN_PARTS - set(parts))]
    names = (
        [provider["name"] for provider in listed.body.get("providers", [])] if listed.status == 200 else []
    )
    for name in names:
        if not parts.get(f"provider:{name}", {}).get("capabilityCoverage"):
            problems.append(f"provider:{name} lacks capabilityCoverage")
    for name, part in parts.items():
        if part.get("status") != "ok":
            problems.append(f"health of {name} is {part.get('status')}: {part.get('details')}")
    if body.get("status") not in ("ok", "degraded", "failed"):
        problems.append(f"health status is {body.get('status')!r}")
    return problems


def error(answer: Any, status: int, code: str, reason: str | None) -> list[str]:
    body = answer.body if isinstance(answer.body, dict) else {}
    problems = []
    if (answer.status, body.get("error")) != (status, code):
        problems.append(f"status {answer.status} {body.get('error')}, not {status} {code}")
    if reason is not None and body.get("reason") != reason:
        problems.append(f"reason {body.get('reason')}, not {reason}")
    if not body.get("message") or not body.get("traceId"):
        problems.append("the error lacks message or traceId")
    if status == 405 and not answer.headers.get("Allow"):
        problems.append("a 405 names no allowed method")
    return problems


def limited(answer: Any) -> list[str]:
    problems = error(answer, 429, "RATE_LIMIT", None)
    hint = answer.body.get("retryAfterMs") if isinstance(answer.body, dict) else None
    if not isinstance(hint, int) or hint < 1:
        return [*problems, "the 429 lacks retryAfterMs"]
    if answer.headers.get("Retry-After") != str(-(-hint // 1000)):
        problems.append("Retry-After is not retryAfterMs in whole seconds, rounded up")
    return problems
