"""Tokens: minted readable, stored only as a keyed digest.

A minted token is `llmc_<id>_<secret><checksum>`: a prefix that secret scanners can be taught, the public
token id, 160 random bits, and the CRC-32 of all before it (after GitHub's token format). Tokens
imported from elsewhere may be any string; nothing on the request path depends on the shape.
"""

import hashlib
import hmac
import re
import secrets
import zlib
from collections.abc import Sequence
from typing import NamedTuple

PREFIX = "llmc"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID_LENGTH, _SECRET_LENGTH, _CHECKSUM_LENGTH = 12, 27, 6
_WITHIN = re.compile(
    rf"{PREFIX}_[{_ALPHABET}]{{{_ID_LENGTH}}}"
    rf"_(?:(?!{PREFIX}_)[{_ALPHABET}]){{{_SECRET_LENGTH},{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}"
)
"""Also one that lost of its end: without the checksum, which anybody can work out, it is as good as whole.
What follows may be another, whose beginning must not be taken for the end of this one."""
_REDACTED = "[redacted]"
_FEWEST_TOLD_APART = 8
"""Characters of a foreign token; a shorter one would be found in names that it has nothing to do with."""
HASH_SCHEME = "hmac-sha256"


class Minted(NamedTuple):
    """`text` is shown once and kept nowhere."""

    token_id: str
    text: str


def mint() -> Minted:
    token_id = new_token_id()
    body = f"{PREFIX}_{token_id}_{_random(_SECRET_LENGTH)}"
    return Minted(token_id, body + checksum(body))


def new_token_id() -> str:
    return _random(_ID_LENGTH)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))


def checksum(body: str) -> str:
    value, digits = zlib.crc32(body.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        value, rest = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits


def redact_tokens(text: str, presented: str = "") -> tuple[str, int]:
    """`text` with `[redacted]` where it holds tokens of ours, or the one that was `presented`, whatever its shape; and
    how many it held."""
    count = 0
    if len(presented) >= _FEWEST_TOLD_APART and presented in text:
        count = text.count(presented)
        text = text.replace(presented, _REDACTED)
    if PREFIX in text:
        text, more = _WITHIN.subn(_REDACTED, text)
        count += more
    return text, count


def is_mistyped(text: str) -> bool:
    """Whether it looks like one of ours but its checksum is wrong. False for foreign tokens."""
    if not text.startswith(f"{PREFIX}_"):
        return False
    return checksum(text[:-_CHECKSUM_LENGTH]) != text[-_CHECKSUM_LENGTH:]


_NO_HEADER = re.compile(r"\A[ \t]|[ \t]\Z|[\x00-\x08\x0a-\x1f\x7f]")


def fits_a_header(text: str) -> bool:
    """Whether a request can carry it: outer blanks are cut off on the way, line ends end the header."""
    return _NO_HEADER.search(text) is None


class Pepper:
    """A server-side key for token digests. Its id is derived from it, so that it needs no name."""

    __slots__ = ("_key", "key_id")

    def __init__(self, text: str) -> None:
        self._key = hashlib.sha256(b"llm-caller token pepper\0" + text.encode()).digest()
        self.key_id = hashlib.sha256(b"llm-caller pepper id\0" + self._key).hexdigest()[:8]

    def digest(self, token: str) -> str:
        """Hex HMAC-SHA256. Lone surrogates cannot come from a header and are hashed as they are."""
        return hmac.digest(self._key, token.encode("utf-8", "surrogatepass"), "sha256").hex()

    def __repr__(self) -> str:
        return f"<Pepper {self.key_id}>"


def parse_peppers(texts: Sequence[str]) -> tuple[Pepper, ...]:
    """Newest first: new tokens are stored under the first, all are tried."""
    return tuple(Pepper(text) for text in texts)
