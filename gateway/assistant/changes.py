"""How two states of the configuration differ, in lines for people. Pure; no line shows a secret."""

import json
from typing import Any

from gateway.assistant.draft import Documents, Draft, Json
from gateway.assistant.fields import show_period

MAX_SHOWN = 60


def pending(draft: Draft) -> list[str]:
    """What saving the draft would do."""
    lines = difference(draft.before, draft.now)
    lines += [f"provider {name}: a new key is sealed into the database" for name in draft.keys]
    for token in draft.tokens:
        lives = (
            "does not expire"
            if token.lifetime_s is None
            else f"expires after {show_period(token.lifetime_s)}"
        )
        lines.append(f"client {token.tool_id}: a token is issued, which {lives}")
    return lines


def difference(before: Documents, now: Documents) -> list[str]:
    old, new = before.providers["providers"], now.providers["providers"]
    lines = _entries("provider", old, new, "baseUrl")
    kept_old, kept_new = [n for n in old if n in new], [n for n in new if n in old]
    if kept_old != kept_new:
        lines.append(f"routing order: {', '.join(new)}")
    lines += _fields("alias", before.providers.get("aliases", {}), now.providers.get("aliases", {}))
    old, new = _by_tool_id(before), _by_tool_id(now)
    lines += _entries("client", _without_tokens(old), _without_tokens(new), "allowedMethods")
    for tool_id in new:
        lines += _tokens(tool_id, old.get(tool_id, {}), new[tool_id])
    for name, one, other in (
        ("providers.json", before.providers, now.providers),
        ("client-registry.json", before.clients, now.clients),
    ):
        lines += _fields(name, _head(one), _head(other))
    return lines


def _entries(what: str, old: dict[str, Json], new: dict[str, Json], telling: str) -> list[str]:
    lines = [f"{what} {name}: deleted" for name in old if name not in new]
    for name, entry in new.items():
        if name not in old:
            lines.append(f"{what} {name}: added ({_value(entry.get(telling))})")
        else:
            lines += _fields(f"{what} {name}", old[name], entry)
    return lines


def _fields(subject: str, old: Json, new: Json) -> list[str]:
    before, now = _flat(old), _flat(new)
    return [
        f"{subject}: {field} {_value(before.get(field))} → {_value(now.get(field))}"
        for field in dict.fromkeys((*before, *now))
        if before.get(field) != now.get(field)
    ]


def _flat(entry: Json, prefix: str = "") -> Json:
    """`{"scores": {"chat": 1}}` as `{"scores.chat": 1}`; where the key comes from stays whole."""
    found: Json = {}
    for name, value in entry.items():
        if isinstance(value, dict) and name != "apiKey":
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def _tokens(tool_id: str, old: Json, new: Json) -> list[str]:
    before = {token["id"]: token for token in old.get("tokens", ())}
    now = {token["id"]: token for token in new.get("tokens", ())}
    lines = [f"client {tool_id}: token {token_id} removed" for token_id in before if token_id not in now]
    for token_id, token in now.items():
        was = before.get(token_id)
        if was is None:
            lines.append(f"client {tool_id}: token {token_id} added")
        elif token.get("revokedAt") and not was.get("revokedAt"):
            lines.append(f"client {tool_id}: token {token_id} revoked")
        elif token != was:
            lines.append(f"client {tool_id}: token {token_id} changed")
    return lines


def _by_tool_id(documents: Documents) -> dict[str, Json]:
    return {entry["toolId"]: entry for entry in documents.clients["clients"]}


def _without_tokens(entries: dict[str, Json]) -> dict[str, Json]:
    return {
        tool_id: {name: value for name, value in entry.items() if name != "tokens"}
        for tool_id, entry in entries.items()
    }


def _head(document: Json) -> Json:
    return {name: value for name, value in document.items() if name in ("$schema", "description")}


def _value(value: Any) -> str:
    if value is None:
        return "(not set)"
    if isinstance(value, list):
        text = ", ".join(str(item) for item in value) or "(none)"
    else:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = text.replace("\n", " ")
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
