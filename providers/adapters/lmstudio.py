"""LM Studio's local server. It knows no `json_object`, so that is asked for as the schema of any object."""

from typing import Any

import msgspec

from providers.adapters.openai_compatible import OpenAICompatible
from providers.types import ResponseFormat

_ANY_OBJECT = ResponseFormat(type="json_schema", name="object", schema=msgspec.Raw(b'{"type":"object"}'))


class LMStudio(OpenAICompatible):
    kind = "lmstudio"
    label = "LM Studio"
    default_base_url = "http://localhost:1234/v1"
    description = "LM Studio on this machine or in the local network."

    def encode_format(self, wanted: ResponseFormat) -> dict[str, Any]:
        return super().encode_format(_ANY_OBJECT if wanted.type == "json_object" else wanted)
