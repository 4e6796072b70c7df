"""Gives each row its place in the chain, and signs what has been reached. Only the journal's writer does this.

One chain belongs to one writer, that is to one state folder. Its name lies in a file there, so that the writer goes on
where it stopped. It begins another one when what the database holds is not what was last signed: an older copy was
restored, or somebody added rows. The record goes on, and `audit_verify` tells what happened to the old chain.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from telemetry.audit.canonical import COLUMNS, Row, canonical, stamp
from telemetry.audit.copies import Copies
from telemetry.audit.head import OLDER, Broken, Head, resumed
from telemetry.audit.keys import KEY, Signer
from telemetry.audit.restored import is_declared
from telemetry.audit.standing import Standing
from telemetry.audit.verifier import link_of, row_hash
from telemetry.models import AuditCheckpoint, RequestLog
from telemetry.replaced_file import replace_file

NAME = "chain"
NAMED = re.compile("[0-9a-f]{16}")


class Chain:
    """`folder`: where the chain's name lies, and the copies of the checkpoints."""

    def __init__(self, folder: Path, signer: Signer, copies: Copies) -> None:
        self._name = folder / NAME
        self.signer, self._copies = signer, copies
        self._believed = signer.signatures
        self._standing = Standing(folder)
        self._head: Head | None = None
        self._signed: Head | None = None
        self._may_be: tuple[Head, ...] = ()
        self.broken = self.unpruned = self.rekeyed = ""
        self._left = ""

    def tell(self) -> None:
        """Faults, for the server's health."""
        self._standing.tell((self.broken, self.rekeyed, self.unpruned, self._copies.fault))

    def settle(self) -> None:
        """Where an operator has signed that the database was restored, the chain's new beginning is no fault any more."""
        if self._left and is_declared(self._left, self._believed, self._copies):
            self.broken = self._left = ""

    @property
    def head(self) -> Head:
        if self._head is None:
            self._head, self._may_be = self._resumed() or self._begun(), ()
        return self._head

    def look_again(self) -> None:
        """After a statement failed: somebody may have put rows where the next ones belong, and whether what was signed
        last has been committed is not known. Nothing else is gone on with than what this writer has signed."""
        if self._head is not None:
            self._may_be = (self._head,) if self._signed is None else (self._head, self._signed)
        self._head = None

    def let_go(self) -> None:
        """Another writer signs meanwhile: this one goes on, as at a start, from what the database has."""
        self._head, self._signed, self._may_be = None, None, ()

    def extend(self, rows: Sequence[RequestLog]) -> Head:
        """Places the rows behind the head and signs. Inside the transaction that stores them; then `reached`."""
        placed = _place(rows, self.head)
        self._signed = self._sign(self.head, placed, len(rows))
        return self._signed

    def reached(self, head: Head) -> None:
        """The transaction has been committed; now the copy outside is written."""
        self._head, self._signed = head, None
        self.follow()

    def follow(self) -> None:
        """Appends to the copies outside what they lack."""
        self._copies.follow(self.head.chain, self._believed)

    def keep_copies(self) -> None:
        """Where somebody has moved the file away, it is begun anew without waiting for the next call."""
        if self._copies.are_due():
            self.follow()

    def _resumed(self) -> Head | None:
        """The chain that this folder names, as the database has it; None when it cannot be gone on with."""
        chain = read_name(self._name)
        if chain is None:
            if has_signed(self._name.parent, self._believed.keys):
                what = "names none" if self._name.exists() else "is missing"
                self.broken = (
                    f"The file that names this writer's chain {what} ({self._name}): another was begun"
                )
            return None
        try:
            head = resumed(chain, self._believed, self._copies)
        except Broken as fault:
            self.broken = str(fault)
            self._left = chain if self.broken == OLDER else ""
            return None
        if self._may_be and head not in self._may_be:
            self.broken = "The database does not end in what this writer signed last: somebody changed it"
            return None
        if head.key not in ("", self.signer.key_id):
            self.rekeyed = f"The record is signed with another key from now on: {self.signer.key_id} instead of {head.key}"
        return head

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
        return replace(reached, signed=number, link=link_of(kept.entry()), key=self.signer.key_id)


def read_name(path: Path) -> str | None:
    """None where there is none, as in a file that a full disk or a bad copy left empty."""
    try:
        name = path.read_text().strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return name if NAMED.fullmatch(name) else None


def has_signed(folder: Path, key_ids: Iterable[str]) -> bool:
    """Whether the database holds what was signed with a key of this folder. A key elsewhere may be that of others."""
    return (folder / KEY).exists() and any(
        AuditCheckpoint.objects.filter(line__contains=f'"key":"{key}"').exists() for key in key_ids
    )


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
