"""A trace that a call belongs to, as W3C Trace Context writes it, and its way on to providers."""

import os

import msgspec

HEADER = "traceparent"


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """`trace_id`: 32 hex digits. `parent`: the client's span, 16 hex digits; "" when the trace begins here.
    `flags`: two hex digits. `span`: our own span of the call; "" when none are made, and what came goes on as it came.
    """

    trace_id: str
    parent: str = ""
    flags: str = "01"
    span: str = ""

    @property
    def sampled(self) -> bool:
        return bool(int(self.flags, 16) & 1)

    def header(self, span: str) -> str:
        """What a provider is sent. `span`: of the attempt; without one, of the client."""
        return f"00-{self.trace_id}-{span or self.parent}-{self.flags}"


def new_trace_id() -> str:
    return os.urandom(16).hex()


def new_span_id() -> str:
    return os.urandom(8).hex()
