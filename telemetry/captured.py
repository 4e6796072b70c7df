"""Sealed content of a call on its way through the journal."""

import msgspec


class SealedContent(msgspec.Struct, frozen=True, kw_only=True):
    """`key_id`: of the encryption key that opens it, 8 hex digits. Times are epoch seconds."""

    call_id: str
    tool_id: str
    key_id: str
    sealed: bytes
    stored_at: float
    expires_at: float
