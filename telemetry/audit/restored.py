"""What an operator signs of a database that was restored from an older copy: which rows are lost, and why.

The copies outside the database still tell of them, so that verification would name them for ever, and something new
would be lost among them. The note is a tombstone: it stands in every verification and every pack from then on.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from telemetry.audit.canonical import stamp
from telemetry.audit.copies import Copies
from telemetry.audit.keys import Signer
from telemetry.audit.verifier import ZEROS, Signatures
from telemetry.models import AuditCheckpoint, AuditTombstone


class Lost(NamedTuple):
    """Rows `first` to `last` of a chain, and checkpoints `signed_from` to `signed_to` over them."""

    chain: str
    first: int
    last: int
    signed_from: int
    signed_to: int


def declare_restored(
    signer: Signer, signatures: Signatures, copies: Copies, *, reason: str, by: str, now: datetime
) -> list[Lost]:
    """Of every chain that the copies know further than the database does. Empty when there is none."""
    return [
        _sign(signer, known, newest, reason=reason, by=by, now=now)
        for known, newest in _behind(signatures, copies)
    ]


def _behind(signatures: Signatures, copies: Copies) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """The last checkpoint that the database has, and the last genuine one that the copies have."""
    newest: dict[str, dict[str, Any]] = {}
    for _, _, entry in copies.lines(copies.size()):
        if entry is not None and entry["number"] > newest.get(entry["chain"], {"number": 0})["number"]:
            newest[entry["chain"]] = entry
    for chain, entry in newest.items():
        kept = AuditCheckpoint.objects.filter(chain=chain).order_by("-number").first()
        known = kept.entry() if kept else {"chain": chain, "number": 0, "sequence": 0, "hash": ZEROS}
        known["number"] = max(known["number"], _declared(chain))
        if entry["number"] > known["number"] and not signatures.fault("checkpoint", entry):
            yield known, entry


def _declared(chain: str) -> int:
    stones = AuditTombstone.objects.filter(chain=chain, line__contains='"lost":')
    return max((stone.entry()["lost"]["last"] for stone in stones), default=0)


def _sign(
    signer: Signer, known: dict[str, Any], newest: dict[str, Any], *, reason: str, by: str, now: datetime
) -> Lost:
    lost = Lost(
        chain=newest["chain"],
        first=known["sequence"] + 1,
        last=newest["sequence"],
        signed_from=known["number"] + 1,
        signed_to=newest["number"],
    )
    told = {
        "chain": lost.chain,
        "runs": [[lost.first, lost.last, newest["hash"], known["hash"]]],
        "rows": lost.last - lost.first + 1,
        "lost": {"first": lost.signed_from, "last": lost.signed_to},
        "reason": f"restored: {reason}",
        "by": by,
        "signedAt": stamp(now),
    }
    AuditTombstone.objects.create(
        chain=lost.chain, signed_at=now, line=signer.sign("tombstone", told),
        first=lost.first, last=lost.last, rows=told["rows"],
    )  # fmt: skip
    return lost
