"""An entry judged as an import would judge it, in the import's words."""

from gateway import configfile
from gateway.assistant.draft import Json
from providers.document import escape

FILLED_PROVIDER: Json = {"baseUrl": "http://localhost", "defaultModel": "m", "capabilities": ["chat"]}
FILLED_CLIENT: Json = {"toolId": "x", "allowedMethods": []}
"""What stands in for the needed fields that were not asked for yet, so that the others can be judged."""


def provider_problems(name: str, entry: Json) -> list[tuple[str, str]]:
    """Pairs of a JSON pointer below the entry and a sentence."""
    pointer = f"/providers/{escape(name)}"
    try:
        configfile._read_providers("", b"", {"providers": {name: FILLED_PROVIDER | entry}}, merge=True)
    except configfile.ImportRefused as refused:
        return [(problem.pointer.removeprefix(pointer), problem.message) for problem in refused.problems]
    return []


def provider_warnings(name: str, entry: Json) -> list[str]:
    """Of a good entry: what an import takes but warns of."""
    loaded = configfile._read_providers("", b"", {"providers": {name: entry}}, merge=True)
    return [warning.partition(": ")[2] for warning in loaded.warnings]


def client_problems(entry: Json) -> list[tuple[str, str]]:
    """Pairs of a JSON pointer below the entry and a sentence."""
    try:
        configfile._read_clients("", b"", {"clients": [FILLED_CLIENT | entry]})
    except configfile.ImportRefused as refused:
        return [(problem.pointer.removeprefix("/clients/0"), problem.message) for problem in refused.problems]
    return []


def below(problems: list[tuple[str, str]], pointer: str) -> list[str]:
    """The sentences about one field, and all that is inside it."""
    return [message for where, message in problems if where == pointer or where.startswith(f"{pointer}/")]


def told(problems: list[tuple[str, str]]) -> list[str]:
    return [
        f"{where.removeprefix('/').replace('/', '.')}: {message}" if where else message
        for where, message in problems
    ]


def read_documents(providers: Json, clients: Json) -> list[configfile.Loaded]:
    """Both documents as an import holds them before it stores them. Raises `ImportRefused` with every problem."""
    problems: list[configfile.FileProblem] = []
    loaded: list[configfile.Loaded] = []
    for read, document in ((_read_providers, providers), (_read_clients, clients)):
        try:
            loaded.append(read(document))
        except configfile.ImportRefused as refused:
            problems += refused.problems
    if problems:
        raise configfile.ImportRefused(problems)
    return loaded


def _read_providers(document: Json) -> configfile.Loaded:
    return configfile._read_providers("providers.json (draft)", b"", document, merge=False)


def _read_clients(document: Json) -> configfile.Loaded:
    return configfile._read_clients("client-registry.json (draft)", b"", document)
