"""Keyed digests of what was asked and answered: whether a text was sent can be told, what was sent cannot.

A digest is `hmac-sha256:KEYID:HEX`, the form that tokens have in files, HMAC-SHA256 (RFC 2104) under a key derived
by HKDF (RFC 5869) with a label of its own. Without the key nobody can try texts against the record.
"""

import hashlib

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

SCHEME = "hmac-sha256"
_LABEL = b"llm-caller content digest"
_BLOCK = 64


class DigestKey:
    """Both halves of the HMAC are begun once and copied for each text: two thirds of the time of a short one's digest."""

    __slots__ = ("_inner", "_outer", "_prefix", "key_id")

    def __init__(self, text: str) -> None:
        key = HKDF(algorithm=SHA256(), length=32, salt=None, info=_LABEL).derive(text.encode())
        padded = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))
        self.key_id = hashlib.sha256(b"llm-caller content digest id\0" + key).hexdigest()[:8]
        self._prefix = f"{SCHEME}:{self.key_id}:"

    def digest(self, data: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(data)
        outer.update(inner.digest())
        return self._prefix + outer.hexdigest()

    def of_text(self, text: str) -> str:
        """ "" of no text at all. What has no UTF-8 form is digested as it is."""
        return self.digest(text.encode("utf-8", "surrogatepass")) if text else ""

    def __repr__(self) -> str:
        return f"<DigestKey {self.key_id}>"
