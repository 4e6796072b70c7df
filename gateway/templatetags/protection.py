"""How well protected the record is, for the pages that show it."""

from typing import Any

from django import template

from gateway.places import audit_folder
from telemetry.audit.keys import KeyFileError, signatures
from telemetry.audit.one_row import verify_row
from telemetry.audit.verification import newest
from telemetry.unreadable import UNREADABLE

register = template.Library()
ODD_SIGNATURE = (
    "what was signed about it holds something that no gateway writes. A verification of the record names it."
)


@register.inclusion_tag("admin/telemetry/requestlog/protection.html")
def protection_of_record() -> dict[str, Any]:
    """The newest signature, and the newest verification of the whole record."""
    signed, verified = newest()
    return {"signed": signed, "verified": verified}


@register.simple_tag
def protection_of(call: Any) -> dict[str, Any]:
    """Verified now: the row, and those up to the next signature. `state`: ok, failed, unchained, unplaced or unknown."""
    if not call.chain:
        return {"state": "unchained"}
    if not isinstance(call.sequence, int | None):
        return {"state": "unplaced"}
    try:
        keys = audit_folder().public_keys()
    except KeyFileError as error:
        return {"state": "unknown", "words": str(error)}
    try:
        closing, found = verify_row(signatures(keys), call)
    except UNREADABLE:
        closing, found = None, []
    # Of some texts, SQLite's driver makes nothing without a word.
    if not found and (closing is None or closing.signed_at is None):
        return {"state": "unknown", "words": ODD_SIGNATURE}
    return {"state": "failed" if found else "ok", "signed": closing, "findings": found[:10]}
