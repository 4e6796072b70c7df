"""Which tokens work with one configuration and no longer with another. Pure: from two documents as exports write them."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

SHOWN = 50


class Working(NamedTuple):
    token_id: str
    tool_id: str


def stopped_tokens(before: Mapping[str, Any], after: Mapping[str, Any], now: datetime) -> list[Working]:
    """By what a caller sends, not by its id: the same token under another id works on."""
    still = _working(after, now)
    return [known for digest, known in _working(before, now).items() if digest not in still]


def _working(document: Mapping[str, Any], now: datetime) -> dict[str, Working]:
    return {
        token["hash"]: Working(token["id"], client["toolId"])
        for client in document.get("clients", ())
        if client.get("enabled", True)
        for token in client.get("tokens", ())
        if not token.get("revokedAt") and not _is_over(token.get("expiresAt"), now)
    }


def _is_over(expires_at: str | None, now: datetime) -> bool:
    return expires_at is not None and datetime.fromisoformat(expires_at) <= now


def warnings(found: list[Working]) -> list[str]:
    """One for each client, with at most `SHOWN` tokens in all."""
    by_client: dict[str, list[str]] = {}
    for token in found[:SHOWN]:
        by_client.setdefault(token.tool_id, []).append(token.token_id)
    said = [
        f"Token {ids[0]} of client {tool_id} stops working."
        if len(ids) == 1
        else f"Tokens {', '.join(ids)} of client {tool_id} stop working."
        for tool_id, ids in by_client.items()
    ]
    more = len(found) - SHOWN
    return [*said, f"{more:,} more tokens stop working."] if more > 0 else said
