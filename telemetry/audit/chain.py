"""Gives each row its place in the chain, and signs what has been reached. Only the journal's writer does this.

One chain belongs to one writer, that is to one state folder. Its name lies in a file there, so that the writer goes on
where it stopped. It begins another one when what the database holds is not what was last signed: an older copy was
restored, or somebody added rows. The record goes on, and `audit_verify` tells what happened to the old chain.
"""

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from telemetry.audit.canonical import COLUMNS, Row, canonical, stamp
from telemetry.audit.copies import Copies
from telemetry.audit.keys import KEY, Signer
from telemetry.audit.standing import Standing
from telemetry.audit.verifier import ZEROS, link_of, row_hash
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog
from telemetry.replaced_file import replace_file

NAME = "chain"


@dataclass(frozen=True)
class Head:
    """How far the chain has come. `signed`: the number of the last checkpoint; `link`: what the next says of it."""

    chain: str = field(default_factory=lambda: secrets.token_hex(8))
    sequence: int = 0
    hash: str = ZEROS
    signed: int = 0
    link: str = ""


class Chain:
    """`folder`: where the chain's name lies, and the copies of the checkpoints."""

    def __init__(self, folder: Path, signer: Signer, copies: Copies) -> None:
        self._name = folder / NAME
        self.signer, self._copies = signer, copies
        self._standing = Standing(folder)
        self._head: Head | None = None
        self.broken = self.unpruned = ""

    def tell(self) -> None:
        """Faults, for the server's health."""
        self._standing.tell((self.broken, self.unpruned, self._copies.fault))

    @property
    def head(self) -> Head:
        if self._head is None:
            self._head = self._resumed() or self._begun()
        return self._head

    def look_again(self) -> None:
        """After a statement failed: somebody may have put rows where the next ones belong."""
        self._head = None

    def extend(self, rows: Sequence[RequestLog]) -> Head:
        """Places the rows behind the head and signs. Inside the transaction that stores them; then `reached`."""
        placed = _place(rows, self.head)
        return self._sign(self.head, placed, len(rows))

    def reached(self, head: Head) -> None:
        """The transaction has been committed; now the copy outside is written."""
        self._head = head
        self._copies.follow(head.chain)

    def _resumed(self) -> Head | None:
        """The chain that this folder names, as the database has it; None when it cannot be gone on with."""
        try:
            chain = self._name.read_text().strip()
        except FileNotFoundError:
            if has_signed(self._name.parent, [self.signer.key_id]):
                self.broken = (
                    f"The file that names this writer's chain is missing ({self._name}): another was begun"
                )
            return None
        last = AuditCheckpoint.objects.filter(chain=chain).order_by("-number").first()
        row = RequestLog.objects.filter(chain=chain).order_by("-sequence").only("sequence", "hash").first()
        outside = self._copies.last(chain)
        if last is None and row is None and outside is None:
            return Head(chain)
        if last is None or (outside and outside["number"] > last.number):
            self.broken = (
                "The database is older than what was signed: a copy was restored, or rows were removed"
            )
            return None
        entry = last.entry()
        if not _fits(row, entry):
            self.broken = "The last rows of the record are not those that were signed"
            return None
        return Head(chain, int(entry["sequence"]), str(entry["hash"]), last.number, link_of(entry))

    def _begun(self) -> Head:
        head = Head()
        self._name.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(self._name, f"{head.chain}\n".encode(), durable=True)
        return head

    def _sign(self, before: Head, reached: Head, rows: int) -> Head:
        now = datetime.now(UTC)
        number = before.signed + 1
        line = self.signer.sign(
            "checkpoint",
            {
                "chain": reached.chain,
                "number": number,
                "sequence": reached.sequence,
                "hash": reached.hash,
                "rows": rows,
                "previous": before.link,
                "signedAt": stamp(now),
            },
        )
        kept = AuditCheckpoint(
            chain=reached.chain, number=number, sequence=reached.sequence, signed_at=now, line=line
        )
        kept.save(force_insert=True)
        return replace(reached, signed=number, link=link_of(kept.entry()))


def has_signed(folder: Path, key_ids: Iterable[str]) -> bool:
    """Whether the database holds what was signed with a key of this folder. A key elsewhere may be that of others."""
    return (folder / KEY).exists() and any(
        AuditCheckpoint.objects.filter(line__contains=f'"key":"{key}"').exists() for key in key_ids
    )


def _fits(row: RequestLog | None, entry: dict[str, Any]) -> bool:
    """Whether the record ends where the last checkpoint says; rows that were pruned need not be there."""
    last = int(entry["sequence"])
    if row is not None and not isinstance(row.sequence, int):
        return False  # SQLite takes any kind of value
    if row is not None and row.sequence is not None and row.sequence >= last:
        return (row.sequence, row.hash) == (last, entry["hash"])
    return AuditTombstone.objects.filter(chain=entry["chain"], first__lte=last, last__gte=last).exists()


def _place(rows: Sequence[RequestLog], head: Head) -> Head:
    sequence, digest = head.sequence, head.hash
    for row in rows:
        sequence += 1
        row.chain, row.sequence = head.chain, sequence
        digest = row.hash = row_hash(digest, canonical(row_of(row)))
    return replace(head, sequence=sequence, hash=digest)


def row_of(row: RequestLog) -> Row:
    facts = {name: getattr(row, name) for name in COLUMNS}
    return Row(**facts | {"call_id": str(row.call_id), "started_at": stamp(row.started_at)})
