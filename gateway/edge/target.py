"""What a request line may name: a path, or a whole URL as a proxy is sent it (RFC 9112 §3.2)."""

import re
from typing import NamedTuple

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)([^#]*)", re.IGNORECASE)
_NEEDLESS = re.compile(rb"%(?:2[dDeEfF]|3\d|[46][1-9a-fA-F]|5[\daAfF]|7[\daAeE])")


class Target(NamedTuple):
    """`path`: with the query. `host`: of a whole URL, which wins over the header's; None of a path."""

    path: bytes
    host: bytes | None = None


def read_target(written: bytes) -> Target:
    """As it was written, when it is neither."""
    match = _ABSOLUTE.fullmatch(written)
    if match is None:
        return Target(written)
    path = match[2]
    return Target(path if path.startswith(b"/") else b"/" + path, match[1])


def has_needless_escape(raw_path: bytes) -> bool:
    """Whether a character is escaped that means the same without (RFC 3986 §2.3), or a slash that would divide."""
    return b"%" in raw_path and _NEEDLESS.search(raw_path) is not None
