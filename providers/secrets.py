"""Provider credentials at rest: AES-256-GCM, bound to the row they belong to.

Layout: version (1 byte) ‖ key id (4) ‖ nonce (12) ‖ ciphertext and tag. The row's uid is the associated
data, so that a ciphertext copied to another provider does not open there. New values are sealed under
the newest key; the key id tells which key opens an old one.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from providers.types import Secret

_VERSION = b"\x01"
_KEY_ID, _NONCE = 4, 12
MAX_FILE_BYTES = 64 * 1024
RESERVED_PREFIXES = ("DJANGO_", "LLM_CALLER_")
RESERVED = frozenset({"DATABASE_URL", "REDIS_URL", "UAT_CLIENT_TOKEN", "PGPASSWORD"})
_CLOSED: set[str] = {"/proc", "/sys", "/dev"}


class SealError(Exception):
    """A stored credential cannot be opened: its key is gone, or it was moved or damaged."""


class KeyRing:
    """The encryption keys, newest first."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = {_key_id(key): AESGCM(_derive(key)) for key in reversed(keys)}
        self._newest = _key_id(keys[0])

    def seal(self, text: str, *, bound_to: str) -> bytes:
        return self.seal_bytes(text.encode(), bound_to=bound_to)

    def seal_bytes(self, data: bytes, *, bound_to: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        sealed = self._keys[self._newest].encrypt(nonce, data, bound_to.encode())
        return _VERSION + self._newest + nonce + sealed

    def open(self, sealed: bytes, *, bound_to: str) -> Secret:
        """Raises `SealError`."""
        try:
            return Secret(self.open_bytes(sealed, bound_to=bound_to).decode())
        except UnicodeDecodeError:
            raise SealError("The credential is damaged") from None

    def open_bytes(self, sealed: bytes, *, bound_to: str) -> bytes:
        """Raises `SealError`."""
        key = self._keys.get(sealed[1 : 1 + _KEY_ID])
        if sealed[:1] != _VERSION or key is None:
            raise SealError("No encryption key opens this credential")
        nonce, body = sealed[1 + _KEY_ID : 1 + _KEY_ID + _NONCE], sealed[1 + _KEY_ID + _NONCE :]
        try:
            return key.decrypt(nonce, body, bound_to.encode())
        except (InvalidTag, ValueError):  # ValueError: cut off before the end of its nonce
            raise SealError("The credential belongs to another row or is damaged") from None

    @property
    def newest_id(self) -> str:
        """The id of the key that new values are sealed under, in hex."""
        return self._newest.hex()

    def is_newest(self, sealed: bytes) -> bool:
        """Whether it was sealed under the newest key; says nothing of whether it opens."""
        return sealed[1 : 1 + _KEY_ID] == self._newest

    def __repr__(self) -> str:
        return f"<KeyRing of {len(self._keys)}>"


def _derive(key: str) -> bytes:
    """The keys have full entropy, so one hash with a label of its own is enough to size them."""
    return hashlib.sha256(b"llm-caller credential key\0" + key.encode()).digest()


def _key_id(key: str) -> bytes:
    return hashlib.sha256(b"llm-caller key id\0" + _derive(key)).digest()[:_KEY_ID]


def is_reserved(name: str) -> bool:
    """Whether a variable is the product's own. A provider named by an operator is never sent one of these."""
    return name.upper().startswith(RESERVED_PREFIXES) or name.upper() in RESERVED


def is_closed(path: str) -> bool:
    """Whether a file is not to be read as a key: what the product keeps its own secrets in, and the kernel's views
    of processes and devices, which show them as well."""
    real = os.path.realpath(os.path.expanduser(path))
    return any(os.path.commonpath((real, place)) == place for place in map(os.path.realpath, _CLOSED))


def close_places(paths: Iterable[str]) -> None:
    """Told once at start where the product's own secrets lie."""
    _CLOSED.update(paths)


def from_environment(name: str) -> Secret | None:
    """The variable, or the content of the file that `NAME_FILE` names; nothing of the product's own."""
    if is_reserved(name):
        return None
    value = os.environ.get(name, "").strip()
    if value:
        return Secret(value)
    path = os.environ.get(f"{name}_FILE", "")
    return from_file(path) if path else None


def from_file(path: str) -> Secret | None:
    """The first line of a small file; None when it cannot be read, is empty, or is not to be read as a key."""
    if "\0" in path or is_closed(path):
        return None
    try:
        with Path(path).expanduser().open("rb") as file:
            text = file.read(MAX_FILE_BYTES).decode()
    except (OSError, UnicodeDecodeError):
        return None
    value = text.strip().split("\n")[0].strip()
    return Secret(value) if value else None
