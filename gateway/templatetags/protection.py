"""How well protected the record is, for the pages that show it."""

from typing import Any

from django import template

from gateway.places import audit_folder
from telemetry.audit.keys import KeyFileError, signatures
from telemetry.audit.one_row import verify_row
from telemetry.audit.verification import newest

register = template.Library()


@register.inclusion_tag("admin/telemetry/requestlog/protection.html")
def protection_of_record() -> dict[str, Any]:
    """The newest signature, and the newest verification."""
    signed, verified = newest()
    return {"signed": signed, "verified": verified}


@register.inclusion_tag("admin/telemetry/requestlog/protection_of_call.html")
def protection_of_call(call: Any) -> dict[str, Any]:
    """Verified now: the row, and those up to the next signature."""
    if not call.chain:
        return {"call": call, "state": "unchained"}
    if not isinstance(call.sequence, int | None):
        return {"call": call, "state": "unplaced"}
    try:
        keys = audit_folder().public_keys()
    except KeyFileError as error:
        return {"call": call, "state": "unknown", "words": str(error)}
    closing, found = verify_row(signatures(keys), call)
    return {"call": call, "state": "failed" if found else "ok", "signed": closing, "findings": found[:10]}
