"""What must be found nowhere, and how it is looked for: each canary in every form that something here might write."""

import base64
import html
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

PROVIDER_TEXT = "PROVIDER-TEXT"
"""What the fake provider says in its errors, together with the key that it was sent."""


def canary(name: str, odd: str = "") -> str:
    return f"cnry-{name}-{secrets.token_hex(12)}{odd}"


def forms(text: str | bytes) -> dict[str, bytes]:
    """How it may lie in bytes: as it is and escaped in each way that something here might do it."""
    raw = text.encode() if isinstance(text, str) else text
    found = {
        "raw": raw,
        "hex": raw.hex().encode(),
        **{f"base64 at {n}": _base64(raw, n) for n in range(3)},
        **{f"base64url at {n}": _base64(raw, n).translate(bytes.maketrans(b"+/", b"-_")) for n in range(3)},
    }
    return found | escaped(text) if isinstance(text, str) else found


def escaped(text: str) -> dict[str, bytes]:
    return {
        "JSON": json.dumps(text)[1:-1].encode(),
        "JSON, not ASCII": json.dumps(text, ensure_ascii=False)[1:-1].encode(),
        "HTML": html.escape(text).encode(),
        "URL": quote(text, safe="").encode(),
        "form": quote_plus(text).encode(),
        "repr": repr(text)[1:-1].encode(),
    }


def _base64(raw: bytes, before: int) -> bytes:
    """The characters that depend on `raw` alone when it stands `before` bytes after a multiple of three."""
    encoded = base64.b64encode(b"\0" * before + raw).rstrip(b"=")
    first = -(-before * 8 // 6)
    last = (before + len(raw)) * 8 // 6
    return encoded[first:last]


class Search:
    """Bytes come in under the name of their place; `hits` are `(place, canary, form)`."""

    def __init__(self, canaries: Mapping[str, str | bytes]) -> None:
        self.patterns: list[tuple[str, str, bytes]] = []
        self.names: set[str] = set()
        self.places: set[str] = set()
        self.hits: set[tuple[str, str, str]] = set()
        self.add(canaries)

    def add(self, canaries: Mapping[str, str | bytes]) -> None:
        """Those that the gateway made itself, as soon as they are there."""
        self.names |= set(canaries)
        self.patterns += [
            (name, form, pattern) for name, text in canaries.items() for form, pattern in forms(text).items()
        ]

    def look(self, place: str, data: bytes | str) -> None:
        data = data.encode() if isinstance(data, str) else data
        self.places.add(place)
        self.hits |= {(place, name, form) for name, form, pattern in self.patterns if pattern in data}

    def look_below(self, what: str, folder: Path) -> None:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "static" not in path.relative_to(folder).parts:
                self.look(f"{what}: {path.relative_to(folder)}", path.read_bytes())


SECRETS = {
    "Django's secret key": canary("django") + canary("django"),
    "the pepper": canary("pepper") + canary("pepper"),
    "the older pepper": canary("older-pepper") + canary("older-pepper"),
    "the encryption key": canary("sealing") + canary("sealing"),
    "the admin's password": canary("password", '"<&+ü/='),
    "the admin's next password": canary("next-password", '"<&+ü/='),
    "a token in a file": canary("file-token", '"<&+/='),
    "a token in an upload": canary("upload-token", '"<&+/='),
    "a token in a bad upload": canary("bad-upload", '"<&+/='),
    "a mistyped token": canary("no-token", '"<&+/='),
    "a token in the URL": canary("url-token", "+/="),
    "the key in a variable": canary("env-key", "+/="),
    "the kind's own key": canary("openai-key", "+/="),
    "the key in a file": canary("file-key", "+/="),
    "the key typed in the assistant": canary("stored-key", '"<&+/='),
    "the key typed in the admin": canary("admin-key", "<&+/="),
    "the database's password": canary("database"),
}
TEXTS = {
    name: canary(name, '"<&+ü\u2028/=')
    for name in ("prompt", "system", "stream", "embed", "failing", "invalid", "answer", "tool", "played")
} | {"the provider's error": PROVIDER_TEXT}
