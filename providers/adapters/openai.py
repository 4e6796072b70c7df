"""OpenAI itself. Its reasoning models refuse `max_tokens`; `max_completion_tokens` is taken by all of them."""

from providers.adapters.openai_compatible import OpenAICompatible


class OpenAI(OpenAICompatible):
    kind = "openai"
    label = "OpenAI"
    default_base_url = "https://api.openai.com/v1"
    default_key_env = "OPENAI_API_KEY"
    description = "OpenAI's own API."
    max_tokens_field = "max_completion_tokens"
