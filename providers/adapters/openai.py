"""OpenAI itself. Its reasoning models refuse `max_tokens`; `max_completion_tokens` is taken by all of them.

It takes at most four stop strings (API reference, "Create chat completion", `stop`).
"""

from providers.adapters.openai_compatible import OpenAICompatible
from providers.types import ChatRequest, EmbedRequest

MAX_STOPS = 4


class OpenAI(OpenAICompatible):
    kind = "openai"
    label = "OpenAI"
    default_base_url = "https://api.openai.com/v1"
    default_key_env = "OPENAI_API_KEY"
    description = "OpenAI's own API."
    max_tokens_field = "max_completion_tokens"

    def unsupported(self, request: ChatRequest | EmbedRequest) -> str | None:
        too_many = isinstance(request, ChatRequest) and len(request.stop) > MAX_STOPS
        return "stop" if too_many else super().unsupported(request)
