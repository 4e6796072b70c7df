"""What an export writes, and how a version keeps it."""

import json
import zlib

from clients import loader as clients_loader
from providers import loader as providers_loader

PROVIDERS, CLIENTS = "providers.json", "client-registry.json"
FILES = (PROVIDERS, CLIENTS)
FILE_OF = {"providers": PROVIDERS, "clients": CLIENTS}
"""By the app whose tables are its content."""


def render(name: str) -> bytes:
    """What an export writes: canonical, so that the same tables always give the same bytes."""
    document = providers_loader.dump() if name == PROVIDERS else clients_loader.dump()
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def render_all() -> dict[str, str]:
    """File name → text."""
    return {name: render(name).decode() for name in FILES}


def pack(texts: dict[str, str]) -> bytes:
    return zlib.compress(json.dumps(texts).encode(), level=6)


def unpack(packed: bytes) -> dict[str, str]:
    texts: dict[str, str] = json.loads(zlib.decompress(packed))
    return texts
