"""What an operator signs of a database that was restored from an older copy: which rows are lost, and why.

The copies outside the database still tell of them, so that verification would name them for ever, and something new
would be lost among them. The note is a tombstone: it stands in every verification and every pack from then on. So the
rest of the chain has to verify first; or a note would turn what somebody removed into what was lost.
"""

from datetime import datetime
from typing import Any, NamedTuple

from django.db import transaction

from telemetry.audit.alone import alone
from telemetry.audit.canonical import stamp
from telemetry.audit.copies import Copies
from telemetry.audit.keys import Signer
from telemetry.audit.reader import LARGEST
from telemetry.audit.stones import genuine
from telemetry.audit.verification import verify
from telemetry.audit.verifier import ZEROS, Finding, Signatures
from telemetry.models import AuditCheckpoint, AuditTombstone


class Lost(NamedTuple):
    """Rows `first` to `last` of a chain, and checkpoints `signed_from` to `signed_to` over them. `before`, `digest`:
    the hashes of the row before, and of the last one."""

    chain: str
    first: int
    last: int
    signed_from: int
    signed_to: int
    before: str
    digest: str


class NotOnlyLost(Exception):
    """A chain has more wrong with it than that its end is lost; in words. Nothing was signed."""


class _End(NamedTuple):
    """How far a chain is known: the number of a checkpoint, the row under it, and its hash."""

    number: int = 0
    sequence: int = 0
    hash: str = ZEROS


def declare_restored(
    signer: Signer, signatures: Signatures, copies: Copies, *, reason: str, by: str, now: datetime
) -> list[Lost]:
    """Of every chain that the copies know further than the database does. Empty when there is none. Raises `NotOnlyLost`,
    `OSError` of the copies."""
    lost = _behind(signatures, copies)
    if lost:
        _require_nothing_else(lost, signatures, copies)
    with transaction.atomic():
        alone()
        lost = [one for one in lost if _declared(one.chain, signatures).number < one.signed_from]
        for one in lost:
            _sign(signer, one, reason=reason, by=by, now=now)
    return lost


def _behind(signatures: Signatures, copies: Copies) -> list[Lost]:
    newest: dict[str, dict[str, Any]] = {}
    for _, _, entry in copies.lines(copies.size()):
        if entry is not None and entry["number"] > newest.get(entry["chain"], {"number": 0})["number"]:
            newest[entry["chain"]] = entry
    found = []
    for chain, entry in newest.items():
        known = max(_kept(chain, signatures), _declared(chain, signatures))
        if entry["number"] > known.number:
            _require_genuine(chain, entry, signatures)
            first, last = known.sequence + 1, entry["sequence"]
            found.append(
                Lost(chain, first, last, known.number + 1, entry["number"], known.hash, entry["hash"])
            )
    return found


def _kept(chain: str, signatures: Signatures) -> _End:
    """The last checkpoint that the database has."""
    kept = AuditCheckpoint.objects.filter(chain=chain, number__lte=LARGEST).order_by("-number").first()
    if kept is None:
        return _End()
    entry = kept.entry()
    _require_genuine(chain, entry, signatures)
    return _End(entry["number"], entry["sequence"], entry["hash"])


def is_declared(chain: str, signatures: Signatures, copies: Copies) -> bool:
    """Whether all that the copies know of this chain, and the database does not have, was signed to be lost."""
    newest = copies.last(chain, signatures)
    return newest is None or _declared(chain, signatures).number >= newest["number"]


def _declared(chain: str, signatures: Signatures) -> _End:
    """What was signed to be lost before, and need not be signed again."""
    noted = AuditTombstone.objects.filter(chain=chain, line__contains='"lost":')
    ends = (
        _End(stone["lost"]["last"], stone["runs"][-1][1], stone["runs"][-1][2])
        for stone in genuine(noted, signatures)
        if stone.get("lost")
    )
    return max(ends, default=_End())


def _require_genuine(chain: str, entry: dict[str, Any], signatures: Signatures) -> None:
    if fault := signatures.fault("checkpoint", entry):
        words = f"the last checkpoint there is was not signed: {fault}"
        raise NotOnlyLost(_refusal(Finding("checkpoint", chain, entry["number"], words)))


def _require_nothing_else(lost: list[Lost], signatures: Signatures, copies: Copies) -> None:
    numbers = {one.chain: one.signed_from for one in lost}
    for finding in verify(signatures, copies).findings:
        is_lost = finding.kind == "restored" and finding.sequence >= numbers.get(finding.chain, 0)
        if finding.chain in numbers and not is_lost:
            raise NotOnlyLost(_refusal(finding))


def _refusal(finding: Finding) -> str:
    return (
        f"Nothing was signed: chain {finding.chain} does not only lack its end. {finding.kind} "
        f"#{finding.sequence}: {finding.words}. manage.py audit_verify names all there is"
    )


def _sign(signer: Signer, lost: Lost, *, reason: str, by: str, now: datetime) -> None:
    told = {
        "chain": lost.chain,
        "runs": [[lost.first, lost.last, lost.digest, lost.before]],
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
