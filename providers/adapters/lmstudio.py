"""LM Studio's local server. It knows no `json_object`, so that is asked for as the schema of any object.

It cannot be made to call one tool ("Supported string values: none, auto, required"), and it fetches no
images ("'url' field must be a base64 encoded image").
"""

from typing import Any

from providers.adapters.openai_compatible import OpenAICompatible
from providers.types import ChatRequest, EmbedRequest, ImagePart, NamedTool, ResponseFormat

_ANY_OBJECT = ResponseFormat(type="json_schema", name="object", schema={"type": "object"})


class LMStudio(OpenAICompatible):
    kind = "lmstudio"
    label = "LM Studio"
    default_base_url = "http://localhost:1234/v1"
    description = (
        "LM Studio on this machine or in the local network. On another machine, turn on “Serve on Local Network” "
        "there, add its address to LLM_CALLER_EGRESS_ALLOW in .env here, and restart the gateway."
    )

    def unsupported(self, request: ChatRequest | EmbedRequest) -> str | None:
        if isinstance(request, EmbedRequest):
            return None
        if isinstance(request.tool_choice, NamedTool):
            return "toolChoice"
        for n, message in enumerate(request.messages):
            for k, part in enumerate(message.content if isinstance(message.content, tuple) else ()):
                if isinstance(part, ImagePart) and not part.as_url().startswith("data:"):
                    return f"messages[{n}].content[{k}].url"
        return None

    def encode_format(self, wanted: ResponseFormat) -> dict[str, Any]:
        return super().encode_format(_ANY_OBJECT if wanted.type == "json_object" else wanted)
