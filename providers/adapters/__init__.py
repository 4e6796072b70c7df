"""The kinds of provider. A new kind is one file and one line here; a new vendor of a known kind is a row."""

from providers.adapters.anthropic import Anthropic
from providers.adapters.base import Adapter
from providers.adapters.lmstudio import LMStudio
from providers.adapters.openai import OpenAI
from providers.adapters.openai_compatible import OpenAICompatible

ADAPTERS: dict[str, Adapter] = {
    adapter.kind: adapter for adapter in (LMStudio(), OpenAI(), Anthropic(), OpenAICompatible())
}


def infer_kind(name: str) -> str:
    """The kind of a provider whose entry names none, as the original service told them apart by name."""
    if name in ("openai", "anthropic"):
        return name
    return "lmstudio" if name.startswith("lmstudio") else "openai-compatible"
