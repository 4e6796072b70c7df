"""The golden files of the adapters: where they are, and the product's own way from one to the next."""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import httpx
import msgspec

from gateway.edge.native import ChatBody, EmbedBody
from providers.adapters import ADAPTERS
from providers.adapters.base import Adapter
from providers.errors import UpstreamError
from providers.sse import SseParser
from providers.types import Provider, Secret, Target, Timeouts

GOLDEN = Path(__file__).parent / "golden"
CASES = sorted(path for path in GOLDEN.glob("*/*") if path.is_dir())
FAILURES = sorted(GOLDEN.glob("*/failure-*.json"))
# The halves of a case by its call: each is there whole or not at all.
HALVES: dict[str, tuple[set[str], ...]] = {
    "chat": ({"request.json", "sent.json"}, {"answer.json", "reply.json"}),
    "stream": ({"request.json", "sent.json"}, {"answer.sse", "reply.json"}),
    "embed": ({"request.json", "sent.json"}, {"answer.json", "reply.json"}),
    "models": ({"sent.json"}, {"answer.json", "reply.json"}),
    "refused": ({"request.json", "refused.json"},),
}
ENVELOPE = {"requestId": "golden", "callerTool": "golden"}
KEY = "sk-golden"
NOT_SHOWN = {"reported": True, "done": False, "garbled": False}


def named(path: Path) -> str:
    return f"{path.parent.name}/{path.stem}"


def having(name: str, call: str = "") -> list[Path]:
    return [case for case in CASES if (case / name).exists() and case.name.startswith(call)]


def adapter_of(path: Path) -> Adapter:
    return ADAPTERS[path.parent.name]


def read(path: Path) -> Any:
    return json.loads(path.read_bytes())


def pretty(value: Any) -> str:
    """As text, where 1 and 1.0 differ and pytest shows the lines that do."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False)


def shown(value: Any) -> Any:
    """A struct as `reply.json` has it: camelCase, without what is absent, empty or usual."""
    if isinstance(value, dict):
        named = {re.sub("_(.)", lambda m: m[1].upper(), key): shown(part) for key, part in value.items()}
        return {k: v for k, v in named.items() if v not in (None, []) and NOT_SHOWN.get(k) is not v}
    return [shown(part) for part in value] if isinstance(value, list | tuple) else value


def shown_failure(error: UpstreamError) -> dict[str, Any]:
    facts = ("classification", "reason", "status", "retry_after_ms")
    return shown({name: getattr(error, name) for name in facts})


def target_of(path: Path) -> Target:
    """The usual provider of that kind, as `provider.json` differs from it."""
    more = read(path / "provider.json") if (path / "provider.json").exists() else {}
    key = more.get("apiKey", KEY)
    provider = Provider(
        name="golden",
        kind=path.parent.name,
        base_url=more.get("baseUrl") or adapter_of(path).default_base_url or "http://localhost:8000/v1",
        default_model="the-model",
        capabilities=adapter_of(path).capabilities,
        timeouts=Timeouts(connect_ms=1, first_event_ms=1, idle_ms=1, total_ms=1),
        api_key=Secret(key) if key else None,
    )
    return Target(provider=provider, model="the-model")


def request_of(case: Path) -> Any:
    return decoded(read(case / "request.json"))


def decoded(fields: dict[str, Any]) -> Any:
    """By the structs that decode what a client sends."""
    kind = EmbedBody if "inputs" in fields else ChatBody
    return msgspec.json.decode(json.dumps(ENVELOPE | fields), type=kind).request()


def built(case: Path) -> httpx.Request:
    adapter, target, call = adapter_of(case), target_of(case), case.name.partition("-")[0]
    if call == "models":
        return adapter.build_discovery(target.provider)
    request = request_of(case)
    assert adapter.unsupported(request) is None
    if call == "embed":
        return adapter.build_embed(request, target)
    return adapter.build_chat(request, target, stream=call == "stream")


def understood(case: Path, body: bytes) -> Any:
    adapter, call = adapter_of(case), case.name.partition("-")[0]
    readers: dict[str, Callable[[], Any]] = {
        "chat": lambda: adapter.read_chat(body),
        "embed": lambda: adapter.read_embed(body, len(request_of(case).inputs)),
        "models": lambda: list(adapter.read_models(body)),
    }
    try:
        return shown(msgspec.to_builtins(readers[call]()))
    except UpstreamError as error:
        require_silent(error, body)
        return {"failure": shown_failure(error)}


def replayed(adapter: Adapter, chunks: Iterable[bytes]) -> dict[str, Any]:
    """The events of a stream that arrives in these chunks, and what ended it when that was an error."""
    reader, parser, events = adapter.events(), SseParser(), []
    received = b""
    try:
        for chunk in [*chunks, None]:
            received += chunk or b""
            for name, data in parser.end() if chunk is None else parser.feed(chunk):
                event = reader.read(name, data)
                events += [shown(msgspec.to_builtins(event))] if event is not None else []
    except UpstreamError as error:
        require_silent(error, received)
        return {"events": events, "failure": shown_failure(error)}
    return {"events": events}


def require_silent(error: UpstreamError, body: bytes) -> None:
    """Nothing that the provider wrote is in what is logged: not one word of it."""
    told = [str(error), *map(str, vars(error).values())]
    words = set(re.findall(r"[A-Za-z_-]{4,}", body.decode("utf-8", "replace")))
    assert not [word for word in words for text in told if word in text]
