"""Which clients name a provider among those that they may use."""

from collections.abc import Collection
from typing import NamedTuple

from clients.models import Client


class Naming(NamedTuple):
    """`only`: whether the client may use no other provider."""

    tool_id: str
    only: bool


def clients_naming(names: Collection[str]) -> list[Naming]:
    """In the order of the file, in one query. `only` takes the names together."""
    wanted = set(names)
    rows = Client.objects.filter(allowed_providers__isnull=False).values_list("tool_id", "allowed_providers")
    return [
        Naming(tool_id, only=set(allowed) <= wanted)
        for tool_id, allowed in rows
        if allowed and wanted & set(allowed)
    ]
