"""An entry judged as an import would judge it, in the import's words."""

import json

from gateway.assistant.draft import Documents, Json
from gateway.configfile import read_contents
from gateway.judge import problems_of
from gateway.reading import Content
from gateway.rendering import CLIENTS, PROVIDERS
from providers.document import escape

FILLED_PROVIDER: Json = {"baseUrl": "http://localhost", "defaultModel": "m", "capabilities": ["chat"]}
FILLED_CLIENT: Json = {"toolId": "x", "allowedMethods": []}
"""What stands in for the needed fields that were not asked for yet, so that the others can be judged."""


def provider_problems(name: str, entry: Json) -> list[tuple[str, str]]:
    """Pairs of a JSON pointer below the entry and a sentence."""
    document = {"providers": {name: FILLED_PROVIDER | entry}}
    return _problems(PROVIDERS, document, f"/providers/{escape(name)}")


def provider_warnings(name: str, entry: Json) -> list[str]:
    """Of a good entry: what an import takes but warns of."""
    content = Content(PROVIDERS, "", json.dumps({"providers": {name: entry}}).encode())
    (loaded,) = read_contents([content], merge=True)
    return [warning.partition(": ")[2] for warning in loaded.warnings]


def client_problems(entry: Json) -> list[tuple[str, str]]:
    """Pairs of a JSON pointer below the entry and a sentence."""
    return _problems(CLIENTS, {"clients": [FILLED_CLIENT | entry]}, "/clients/0")


def _problems(name: str, document: Json, pointer: str) -> list[tuple[str, str]]:
    return [
        (problem.pointer.removeprefix(pointer), problem.message) for problem in problems_of(name, document)
    ]


def contents(documents: Documents) -> list[Content]:
    """Both documents as an import takes them."""
    return [
        Content(name, f"{name} (draft)", json.dumps(document).encode())
        for name, document in ((PROVIDERS, documents.providers), (CLIENTS, documents.clients))
    ]


def below(problems: list[tuple[str, str]], pointer: str) -> list[str]:
    """The sentences about one field, and all that is inside it."""
    return [message for where, message in problems if where == pointer or where.startswith(f"{pointer}/")]


def told(problems: list[tuple[str, str]]) -> list[str]:
    return [
        f"{where.removeprefix('/').replace('/', '.')}: {message}" if where else message
        for where, message in problems
    ]
