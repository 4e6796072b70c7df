"""The facts of each kind of provider, as pages show them and hand them to their script."""

from typing import Any

from providers.adapters import ADAPTERS
from providers.types import CAPABILITIES


def facts() -> dict[str, dict[str, Any]]:
    """By kind, in the order of the adapters; all from the adapter classes."""
    return {
        kind: {
            "kind": kind,
            "label": adapter.label,
            "description": adapter.description,
            "baseUrl": adapter.default_base_url or "",
            "key": adapter.default_key_env or "",
            "capabilities": [name for name in CAPABILITIES if name in adapter.capabilities],
        }
        for kind, adapter in ADAPTERS.items()
    }
