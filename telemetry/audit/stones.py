"""Tombstones that are believed: those that a key of ours has signed, for the chain they stand in."""

from collections.abc import Iterator
from typing import Any

from django.db.models import QuerySet

from telemetry.audit.verifier import Signatures, is_tombstone
from telemetry.models import AuditTombstone

AT_ONCE = 50


def genuine(stones: QuerySet[AuditTombstone], believed: Signatures) -> Iterator[dict[str, Any]]:
    """What the genuine ones among these say; the others say nothing."""
    for chain, line in stones.values_list("chain", "line").iterator(chunk_size=AT_ONCE):
        entry = AuditTombstone(chain=chain, line=line, first=0, last=0, rows=0).entry()
        sound = is_tombstone(entry) and entry.get("chain") == chain
        if sound and believed.fault("tombstone", entry) is None:
            yield entry


def covering(chain: str, first: int, last: int, believed: Signatures) -> Iterator[dict[str, Any]]:
    """Those that may cover one of these rows."""
    return genuine(AuditTombstone.objects.filter(chain=chain, last__gte=first, first__lte=last), believed)
