"""Whether the columns beside what was signed say what was signed: pages and queries go by them."""

from collections.abc import Iterator
from typing import Any

from telemetry.audit.canonical import canonical, stamp
from telemetry.audit.verifier import Finding
from telemetry.models import AuditCheckpoint, AuditTombstone


def columns(kept: AuditCheckpoint | AuditTombstone, entry: dict[str, Any]) -> Iterator[Finding]:
    """`entry`: what its line says."""
    beside = tuple(getattr(kept, name) for name in kept.PLACE)
    if beside != kept.columns(entry) or entry.get("signedAt") not in (None, stamp(kept.signed_at)):
        words = "the columns beside it are not what was signed"
    elif kept.line != canonical(entry).decode() and entry.get("signature"):
        words = "it is not written as it was signed: other readers may read something else"
    else:
        return
    kind = "checkpoint" if isinstance(kept, AuditCheckpoint) else "tombstone"
    yield Finding(kind, kept.chain, getattr(kept, kept.PLACE[0]), words)
