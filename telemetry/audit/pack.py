"""The evidence pack: a ZIP file with rows, what was signed about them, the public keys and a verifier.

Rows that were not selected but link selected ones to the next signature stand in by their body hash alone, so that
a pack about one client shows nothing of another. Streamed: the ZIP's parts leave as they are made.
"""

import base64
import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from django.db.models import Max, Min, Q

from telemetry.audit import reader, verifier
from telemetry.audit.canonical import Row, canonical, stamp
from telemetry.audit.exports import CHUNK_BYTES, chunked, matching, ranges, with_hash
from telemetry.audit.reader import LARGEST
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import ZEROS, encoded, key_id, sha256
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

README = """This is an extract of the record of calls of an LLM Caller gateway.

It can be verified with Python 3.11 or newer and nothing else:

    python3 -I verifier.py PACK.zip --public-key KEY.pub

Run your own copy of verifier.py, on the ZIP file as you got it: whoever could forge the pack could also have put another
verifier into it, and other files beside it. -I keeps Python from importing what lies beside a script. verifier.py also
reads the folder into which a pack was unpacked.

KEY.pub is the public key that signs the record, as base64. Take it from somebody you trust, not from this pack: whoever
could forge the pack could also have put a key of his own into keys.jsonl. When the key was changed meanwhile, name
each that signed: --public-key may be given several times, and a file may hold several keys, one a line.

rows.jsonl         one call a line, in the order of the chain
checkpoints.jsonl  what was signed about the chain
tombstones.jsonl   signed notes about rows that were removed for their age
keys.jsonl         the public keys
manifest.json      what was selected, and the SHA-256 of each file
verifier.py        says at its head how rows, hashes and signatures belong together
"""


class _Sink(io.RawIOBase):
    """Takes what the ZIP writes, to be handed on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        self.size += len(data)
        return len(data)

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts, self.size = [], 0
        return data


class EvidencePack:
    def __init__(self, selection: Selection, public_keys: list[bytes]) -> None:
        self._selection, self._keys = selection, public_keys
        self.rows = 0
        """How many were written so far, without those that stand in by their hash."""
        self._hashes: dict[str, str] = {}
        self._closings: dict[str, int] = {}

    def stream(self) -> Iterator[bytes]:
        sink = _Sink()
        parts: dict[str, Callable[[], Iterator[bytes]]] = {
            "README.txt": lambda: iter([README.encode()]),
            # Before the rows: with rows that are pruned meanwhile the signatures over them would be gone.
            "checkpoints.jsonl": lambda: chunked(self._checkpoint_lines()),
            "rows.jsonl": lambda: chunked(self._row_lines()),
            "tombstones.jsonl": lambda: chunked(self._tombstone_lines()),
            "keys.jsonl": self._key_lines,
            "verifier.py": lambda: iter([Path(verifier.__file__).read_bytes()]),
            "manifest.json": self._manifest,
        }
        with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=5) as archive:
            for name, chunks in parts.items():
                digest = hashlib.sha256()
                with archive.open(name, "w", force_zip64=True) as file:
                    for chunk in chunks():
                        digest.update(chunk)
                        file.write(chunk)
                        if sink.size >= CHUNK_BYTES:
                            yield sink.take()
                self._hashes[name] = digest.hexdigest()
        yield sink.take()

    def _row_lines(self) -> Iterator[bytes]:
        for chain, first, last in self._ranges():
            yield from self._chain_lines(chain, first, last)

    def _chain_lines(self, chain: str, first: int, last: int) -> Iterator[bytes]:
        """`linked`: whether the line before leads to this row; if not, the line tells the hash that it follows."""
        signed = set(self._checkpoints(chain, first, last).values_list("sequence", flat=True))
        wanted, closing = self._wanted(last), self._closings.get(chain, last)
        at, previous, linked = first - 2, "", False
        # With the row before: asked for later, it may have been pruned.
        for row, claimed in reader.rows(chain, after=at, until=closing):
            if row.sequence < first:
                at, previous = row.sequence, claimed
                continue
            if row.sequence != at + 1 and not linked:
                previous = _hash_before(chain, row.sequence)
            body = canonical(row)
            if wanted(row):
                self.rows += 1
                yield _full(body, claimed, None if linked else previous)
                linked = True
            elif linked:
                yield (
                    encoded({"chain": chain, "sequence": row.sequence, "bodyHash": sha256(body).hexdigest()})
                    + b"\n"
                )
            if row.sequence in signed and not (self._selection.whole and row.sequence < last):
                linked = False
            at, previous = row.sequence, claimed

    def _wanted(self, last: int) -> Callable[[Row], bool]:
        """Of a whole period also the rows in between that began a little before or after it: nothing is left out."""
        return (lambda row: row.sequence <= last) if self._selection.whole else matching(self._selection)

    def _ranges(self) -> list[tuple[str, int, int]]:
        if not hasattr(self, "_found"):
            self._found = ranges(self._selection)
        return self._found

    def _checkpoints(self, chain: str, first: int, last: int) -> Any:
        """From the first that signs one of the rows to the one that signs the last of them."""
        kept = AuditCheckpoint.objects.filter(chain=chain, sequence__gte=first).order_by("number")
        closing = kept.filter(sequence__gte=last).first()
        return kept.filter(number__lte=closing.number) if closing else kept

    def _checkpoint_lines(self) -> Iterator[bytes]:
        for chain, first, last in self._ranges():
            kept = self._checkpoints(chain, first, last)
            self._closings[chain] = max([last, *kept.values_list("sequence", flat=True)])
            yield from _lines(kept)

    def _tombstone_lines(self) -> Iterator[bytes]:
        """Up to the closing signature, and what begins right behind it: a tombstone too says what was before."""
        for chain, first, last in self._ranges():
            closing = self._closings.get(chain, last)
            stones = AuditTombstone.objects.filter(chain=chain)
            within = Q(last__gte=first, first__lte=closing + 1)
            if self._selection.whole:
                within |= self._may_have_had(chain, Q(sequence__lt=first), Q(sequence__gt=last))
            yield from _lines(stones.filter(within).order_by("first"))
        if self._selection.whole:
            yield from self._of_chains_without_rows()

    def _of_chains_without_rows(self) -> Iterator[bytes]:
        since, until = self._selection.since, self._selection.until
        before = Q(started_at__lt=since) if since else Q(pk=None)
        behind = Q(started_at__gte=until) if until else Q(pk=None)
        with_rows = [chain for chain, _, _ in self._ranges()]
        stones = AuditTombstone.objects.exclude(chain__in=with_rows)
        for chain in stones.order_by("chain").values_list("chain", flat=True).distinct():
            gone = stones.filter(self._may_have_had(chain, before, behind), chain=chain)
            yield from _lines(gone.order_by("first"))

    def _may_have_had(self, chain: str, before: Q, behind: Q) -> Q:
        """Tombstones of rows that would have stood at the ends of the period: behind the last one `before` it that is
        left, up to the first one `behind`. When their calls began, nobody can tell any more, but it was before they went.
        """
        kept = RequestLog.objects.filter(chain=chain, sequence__lte=LARGEST)
        start = kept.filter(before).aggregate(last=Max("sequence"))["last"] or 0
        end = kept.filter(behind).aggregate(first=Min("sequence"))["first"] or LARGEST
        gone = Q(last__gt=start, first__lt=end)
        return gone & Q(signed_at__gte=self._selection.since) if self._selection.since else gone

    def _key_lines(self) -> Iterator[bytes]:
        for key in self._keys:
            yield encoded({"id": key_id(key), "publicKey": base64.b64encode(key).decode()}) + b"\n"

    def _manifest(self) -> Iterator[bytes]:
        told = {
            "about": self._selection.about,
            "whole": self._selection.whole,
            "rows": self.rows,
            "chains": [{"chain": c, "first": first, "last": last} for c, first, last in self._ranges()],
            "madeAt": stamp(datetime.now(UTC)),
            "product": f"LLM Caller {_version()}",
            "files": self._hashes,
        }
        yield json.dumps(told, indent=2, ensure_ascii=False).encode() + b"\n"


def _lines(signed: Any) -> Iterator[bytes]:
    for line in signed.values_list("line", flat=True).iterator():
        yield line.encode() + b"\n"


def _full(body: bytes, claimed: str, previous: str | None) -> bytes:
    line = with_hash(body, claimed)
    return line if previous is None else b'%b,"previousHash":"%b"}\n' % (line[:-2], previous.encode())


def _hash_before(chain: str, sequence: int) -> str:
    """Of the row before, or of the tombstone in its place; zeros when neither is there, which will not verify."""
    row = RequestLog.objects.filter(chain=chain, sequence=sequence - 1).only("hash").first()
    if row is not None:
        return row.hash
    for stone in AuditTombstone.objects.filter(chain=chain, last__gte=sequence - 1, first__lt=sequence):
        for _, last, digest, _ in stone.entry()["runs"]:
            if last == sequence - 1:
                return str(digest)
    return ZEROS


def _version() -> str:
    try:
        return version("llm-caller")
    except PackageNotFoundError:
        return "from a checkout"
