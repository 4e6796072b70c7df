"""W3C Trace Context (https://www.w3.org/TR/trace-context/ §3.2): which trace a client's call belongs to.

A header that is not as it should be is as none: it says nothing about the call, which is served all the same.
`tracestate` is not passed on: it is other vendors' data, and none of a provider's business.
"""

import re
from collections.abc import Sequence

from providers.trace import Trace, new_span_id, new_trace_id

_PARENT = re.compile(
    rb"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_MOST_BYTES = 512


def read(values: Sequence[bytes]) -> Trace | None:
    """The trace that one header names. Of an unknown version, what the first one has."""
    if len(values) != 1 or len(values[0]) > _MOST_BYTES:
        return None
    match = _PARENT.fullmatch(values[0].strip(b" \t"))
    if (
        match is None
        or match["version"] == b"ff"
        or (match["version"] == b"00" and match["more"] is not None)
    ):
        return None
    trace, span = match["trace"].decode(), match["span"].decode()
    if not trace.strip("0") or not span.strip("0"):
        return None
    sampled = int(match["flags"], 16) & 1
    return Trace(trace_id=trace, parent=span, flags=f"{sampled:02x}")


def begin(values: Sequence[bytes]) -> Trace:
    """For a call that is exported as a span: within the client's trace, or as the first of a new one."""
    found = read(values)
    if found is None:
        return Trace(trace_id=new_trace_id(), span=new_span_id())
    return Trace(trace_id=found.trace_id, parent=found.parent, flags=found.flags, span=new_span_id())
