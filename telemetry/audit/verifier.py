#!/usr/bin/env python3
"""Verifies a record of calls exported from LLM Caller. One file, nothing but Python 3.11 or newer.

    python3 -I verifier.py PACK.zip|FOLDER [--public-key FILE]...

Exit code 0: every row is as it was signed. 1: something is not, and each finding is printed. 2: the pack cannot be
read, or what was found cannot be printed. A pack without a row proves nothing, though its exit code is 0. The keys in a
pack prove nothing by themselves: name those that came to you another way, all that signed it. The same goes for the
verifier in it: run your own copy, on the ZIP file itself. `-I` keeps Python from importing what lies beside a script.

How the record is protected: a row's body hash is the SHA-256 of its canonical JSON (keys sorted, no spaces, UTF-8,
without "hash" and "previousHash"). A row's hash is the SHA-256 of the hash of the row before it, ":" and its body
hash, both as 64 hexadecimal digits; the first row of a chain follows 64 zeros. Checkpoints sign with Ed25519 which
hash the row of a sequence number has, and which checkpoint came before. Rows that were removed for their age are
covered by tombstones, signed with the same key, that tell the hash of the last row of each run; checkpoints over
nothing but such rows are removed too, and the tombstone tells with which one the chain begins from then on.
"""

import sys

if __name__ == "__main__":
    # Before any other import: whoever forged a pack can have put a json.py beside this file.
    if sys.version_info < (3, 11):  # noqa: UP036 - here it is no more than a script that somebody runs
        sys.stderr.write("This needs Python 3.11 or newer; it was run with %d.%d.\n" % sys.version_info[:2])  # noqa: UP031
        sys.exit(2)
    if not sys.flags.safe_path:
        sys.path[:] = [folder for folder in sys.path[1:] if folder not in ("", sys.path[0])]

import argparse
import base64
import bisect
import collections
import contextlib
import hashlib
import io
import itertools
import json
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

ZEROS = "0" * 64
SIGNED_AS = {"checkpoint": b"llm-caller checkpoint v1\n", "tombstone": b"llm-caller tombstone v1\n"}
MOST_FINDINGS = 1000
BLOCK = 1000
FILES = ("README.txt", "rows.jsonl", "checkpoints.jsonl", "tombstones.jsonl", "keys.jsonl", "verifier.py")
"""Of a pack, besides its manifest."""
STAND_IN = frozenset({"chain", "sequence", "bodyHash"})
"""What there is of a row that is not part of the pack."""
LONGEST_LINE = 16 << 20
"""Bytes, also of the manifest: fifty times what the product writes."""
CHUNK = 1 << 20
NUMBERS, TEXTS = ("number", "sequence"), ("chain", "hash", "previous", "signature")
"""What is read of a checkpoint."""
KINDS = [*[int] * len(NUMBERS), *[str] * len(TEXTS)]
MOST_SHOWN = 500
"""Characters of a text that came with the pack."""
COVERED = "a tombstone covers a row that is there"
UNPROVED = (
    "neither a signature nor the rows behind it say that this row, and those before it, are what was recorded"
)
NO_BODY = ""
"""In place of the hash of a row that holds what no row of ours could: nothing follows from it."""
sha256 = hashlib.sha256


class Finding(NamedTuple):
    """`sequence`: of the row, or the number of the checkpoint; `kind`: one word for what was done to it."""

    kind: str
    chain: str
    sequence: int
    words: str

    def __str__(self) -> str:
        return f"{self.kind:<11} chain {self.chain or '-'} #{self.sequence}: {self.words}"


Checks = Callable[[bytes, bytes, bytes], bool]
"""Public key (32 bytes), signature (64), message: whether the signature is good."""


def encoded(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def row_hash(previous: str, body: bytes) -> str:
    return linked(previous, sha256(body).hexdigest())


def linked(previous: str, body_hash: str) -> str:
    return sha256(f"{previous}:{body_hash}".encode()).hexdigest()


def is_linked(previous: str, body_hash: str, claimed: str) -> bool:
    return body_hash != NO_BODY and linked(previous, body_hash) == claimed


class Run(NamedTuple):
    """Rows with numbers that ascend by one, of which each but the first is what its hash says: made of its bytes and of
    the hash of the row before. `body_hash`: SHA-256 of the first one's canonical bytes, in hex, or `NO_BODY`; `claimed`: the
    hash that each one claims."""

    first: int
    body_hash: str
    claimed: list[str]


def key_id(public: bytes) -> str:
    return sha256(public).hexdigest()[:16]


def signed_bytes(kind: str, entry: dict[str, Any]) -> bytes:
    return SIGNED_AS[kind] + encoded({name: value for name, value in entry.items() if name != "signature"})


def link_of(entry: dict[str, Any]) -> str:
    """What the next checkpoint says of this one."""
    return sha256(encoded(entry)).hexdigest()


class Signatures:
    """The public keys that are believed, by id, and how a signature is checked."""

    def __init__(self, keys: Iterable[bytes], checks: Checks) -> None:
        self.keys = {key_id(key): key for key in keys}
        self._checks = checks

    def fault(self, kind: str, entry: dict[str, Any]) -> str | None:
        """What is wrong with the entry's signature, in words; None when nothing is."""
        key = self.keys.get(str(entry.get("key")))
        if key is None:
            return f"it is signed with the key {entry.get('key')}, which is not one of those believed"
        try:
            signature = base64.b64decode(str(entry.get("signature")), validate=True)
        except ValueError:
            return "its signature cannot be read"
        if not self._checks(key, signature, signed_bytes(kind, entry)):
            return "its signature does not belong to what it says"
        return None


class Gone(NamedTuple):
    """Rows that a tombstone stands for: the first and the last, the hash of the last and of the row before the first."""

    first: int
    last: int
    digest: str
    before: str


def is_checkpoint(entry: Any) -> bool:
    """Whether it has all that is read of one, each of its kind."""
    return isinstance(entry, dict) and [*map(type, map(entry.get, NUMBERS + TEXTS))] == KINDS


def is_tombstone(entry: Any) -> bool:
    runs = entry.get("runs") if isinstance(entry, dict) else None
    return (
        isinstance(runs, list)
        and bool(runs)
        and all(_is_run(run) for run in runs)
        and _has(entry.get("begins"), number=int, sequence=int, previous=str)
        and _has(entry.get("lost"), first=int, last=int)
    )


def _is_run(run: Any) -> bool:
    kinds = [type(part) for part in run] if isinstance(run, list) else []
    return kinds == [int, int, str, str] and 0 < run[0] <= run[1]


def _has(part: Any, **kinds: type) -> bool:
    """Whether a part that need not be there is there whole."""
    return part is None or (
        isinstance(part, dict) and all(type(part.get(name)) is kind for name, kind in kinds.items())
    )


class Why(NamedTuple):
    """Why rows are not there, as a tombstone says, and who signed that. `how`: whether they were removed or lost."""

    how: str
    reason: str
    by: str


class Removed(NamedTuple):
    """Rows that went for one reason: how many, under how many tombstones, signed from when to when."""

    rows: int
    tombstones: int
    since: str
    until: str

    def plus(self, more: "Removed") -> "Removed":
        rows, tombstones = self.rows + more.rows, self.tombstones + more.tombstones
        return Removed(rows, tombstones, min(self.since, more.since), max(self.until, more.until))


Removals = dict[Why, Removed]


class Ledger:
    """Everything signed about one chain: which hash a sequence number has, and which rows may be missing. `begins`: the
    number of the first checkpoint that has to be there, and what it says of the one before. `lost`: numbers, from and to,
    of those that a restored database lacks, as its operator has signed. `removals`: where the rows are summed up that
    genuine tombstones tell of.
    """

    link_of = staticmethod(link_of)

    def __init__(self, chain: str, signatures: Signatures, removals: Removals | None = None) -> None:
        self.chain = chain
        self._signatures = signatures
        self._removals: Removals = {} if removals is None else removals
        self._counted: set[str] = set()
        self._marks: dict[int, str] = {}
        self.gone: list[Gone] = []
        self._overlaps: set[Gone] = set()
        self.begins = 1, ""
        self.lost: list[tuple[int, int]] = []
        self.last = 0
        self._previous: dict[str, Any] | None = None

    def mark(self, sequence: int) -> str | None:
        """The hash that was signed for this row, if one was."""
        return self.marks(sequence, sequence).get(sequence)

    def marks(self, first: int, last: int) -> dict[int, str]:
        """The hashes that were signed for these rows and those between, ascending by their numbers."""
        signed = self._marks.keys() & range(first, last + 1)
        return {sequence: self._marks[sequence] for sequence in sorted(signed)}

    def checkpoints(self, entries: Iterable[dict[str, Any]], *, whole: bool = True) -> Iterator[Finding]:
        """In order of their numbers. `whole`: from the chain's first one on. May be called again with those that follow.

        Each names the hash of the one before: where all of them fit together, the signature over the last one, and over
        the last of each key, is one over all. Where something does not fit, each signature is checked.
        """
        entries = iter(entries)
        while block := list(itertools.islice(entries, BLOCK)):
            fits = self._fit(block, whole)
            for entry in block:
                fault = None if fits else self._fault(entry, signature=True)
                if fault:
                    yield Finding(
                        "checkpoint",
                        self.chain,
                        _number(entry),
                        f"a checkpoint was changed or forged: {fault}",
                    )
                else:
                    if not fits:
                        yield from self._follows(entry, whole)
                    self._marks[entry["sequence"]] = entry["hash"]
                    self.last = max(self.last, entry["sequence"])
                self._previous = entry if isinstance(entry, dict) else {}

    def _fit(self, block: list[dict[str, Any]], whole: bool) -> bool:
        previous = self._previous
        for entry in block:
            if self._fault(entry) or not self._is_next(previous, entry, whole):
                return False
            if previous and previous.get("key") != entry.get("key") and self._fault(previous, signature=True):
                return False
            previous = entry
        return not self._fault(block[-1], signature=True)

    def _fault(self, entry: Any, *, signature: bool = False) -> str | None:
        if not is_checkpoint(entry):
            return "it cannot be read"
        if entry["chain"] != self.chain:
            return "it is about another chain"
        return self._signatures.fault("checkpoint", entry) if signature else None

    def _follows(self, entry: dict[str, Any], whole: bool) -> Iterator[Finding]:
        number, previous = entry["number"], self._previous
        expected = _number(previous) + 1 if previous else 1
        if number != expected and (previous or whole):
            if (number, entry["previous"]) == self.begins:
                return
            words = f"checkpoints {expected} to {number - 1} are missing"
            yield Finding("checkpoint", self.chain, expected, words)
        elif not self._is_next(previous, entry, whole):
            yield Finding("checkpoint", self.chain, number, "it does not follow the checkpoint before it")

    def _is_next(self, previous: dict[str, Any] | None, entry: dict[str, Any], whole: bool) -> bool:
        if previous is None:
            return entry["number"] == 1 or not whole
        return bool(entry["number"] == _number(previous) + 1 and entry["previous"] == self.link_of(previous))

    def tombstones(self, entries: Iterable[dict[str, Any]]) -> Iterator[Finding]:
        known = len(self.gone)
        for entry in entries:
            fault = (
                "it cannot be read" if not is_tombstone(entry) else self._signatures.fault("tombstone", entry)
            )
            if fault is None and entry.get("chain") != self.chain:
                fault = "it is about another chain"
            if fault:
                first = entry["runs"][0][0] if is_tombstone(entry) else 0
                yield Finding("tombstone", self.chain, first, f"a tombstone is not genuine: {fault}")
                continue
            self.gone += [Gone(*run) for run in entry["runs"]]
            if begins := entry.get("begins"):
                self.begins = max(self.begins, (begins["number"], begins["previous"]))
            if lost := entry.get("lost"):
                self.lost.append((lost["first"], lost["last"]))
            self._sum_up(entry)
        if len(self.gone) > known:
            self.gone.sort()
            yield from self._overlapping()

    def _overlapping(self) -> Iterator[Finding]:
        """What is gone cannot go again: such rows were put in for the second of the tombstones to tell their hashes."""
        for one, other in itertools.pairwise(self.gone):
            if other.first <= one.last and other != one and other not in self._overlaps:
                self._overlaps.add(other)
                words = f"two tombstones cover row {other.first}: it was put back, and removed again"
                yield Finding("tombstone", self.chain, other.first, words)

    def _sum_up(self, entry: dict[str, Any]) -> None:
        """One that is there twice counts once."""
        link = self.link_of(entry)
        if link in self._counted:
            return
        self._counted.add(link)
        how = "lost with a restored database" if entry.get("lost") else "removed for their age"
        why, at = Why(how, str(entry.get("reason")), str(entry.get("by"))), str(entry.get("signedAt"))
        removed = Removed(sum(last - first + 1 for first, last, *_ in entry["runs"]), 1, at, at)
        self._removals[why] = self._removals[why].plus(removed) if why in self._removals else removed

    def over(self, sequence: int) -> Gone | None:
        """The rows that went, among them this one."""
        at = bisect.bisect_right(self.gone, sequence, key=lambda gone: gone.first) - 1
        return self.gone[at] if at >= 0 and self.gone[at].last >= sequence else None

    def look_again(self) -> Iterator[Finding]:
        """For tombstones that have come since; a pack gets none."""
        return iter(())

    def is_back(self, sequence: int) -> bool:
        return sequence in self.back(sequence, sequence)

    def back(self, first: int, last: int) -> set[int]:
        """Of these rows and those between, which are there: the ones that went before anybody looked. In a pack they may
        be, for their tombstone came while it was made."""
        return set()

    def is_new(self, gone: Gone) -> bool:
        """Whether it came while somebody looked, and may have taken rows that had been passed already. In a pack all
        rows up to a signature are of one moment."""
        return False


def _number(entry: Any) -> int:
    number = entry.get("number") if isinstance(entry, dict) else None
    return number if type(number) is int else 0


class Walk:
    """Goes along one chain, run by run. `at` and `previous`: the last row passed and its hash."""

    def __init__(self, ledger: Ledger, *, at: int = 0, previous: str | None = ZEROS) -> None:
        self._ledger = ledger
        self.at, self.previous = at, previous
        self.rows = self._row = 0

    def along(self, runs: Iterable[Run]) -> Iterator[Finding]:
        """In order."""
        for first, body_hash, claimed in runs:
            follows: str | None = None
            while claimed and first != self.at + 1:
                yield from self.to(first)
                if first > self.at:
                    break
                # It is there twice, and what comes behind it in its run follows it.
                follows, first, claimed = claimed[0], first + 1, claimed[1:]
            if claimed:
                yield from self._over_rows(first, claimed, follows, body_hash)

    def _over_rows(
        self, first: int, claimed: list[str], follows: str | None, body_hash: str
    ) -> Iterator[Finding]:
        """`follows`: the hash that the first one is known to follow; else `body_hash` is its own."""
        chain, last, previous = self._ledger.chain, first + len(claimed) - 1, self.previous
        if previous is not None and not (
            is_linked(previous, body_hash, claimed[0]) if follows is None else follows == previous
        ):
            yield Finding("changed", chain, first, "the row is not the one that was recorded")
        marks, back = self._ledger.marks(first, last), self._ledger.back(first, last)
        forged = {sequence for sequence, mark in marks.items() if mark != claimed[sequence - first]}
        for sequence in sorted(forged | back):
            if sequence in forged:
                words = "its hash is not the one that was signed: it, or rows before it, were made anew"
                yield Finding("forged", chain, sequence, words)
            if sequence in back:
                yield Finding("tombstone", chain, sequence, COVERED)
        self.passed(last, claimed[-1])
        self.rows += len(claimed)

    def passed(self, at: int, previous: str | None) -> None:
        """Up to a row that is there."""
        self._row = self.at = at
        self.previous = previous

    def to(self, sequence: int, *, there: bool = True) -> Iterator[Finding]:
        """To just before `sequence`, over what tombstones cover; what they do not cover was deleted. `there`: a row has
        this number."""
        chain = self._ledger.chain
        if sequence <= self.at:
            yield Finding("duplicate", chain, sequence, "the sequence number is there twice")
            return
        start = self.at + 1
        while start < sequence:
            gone = self._ledger.over(start)
            if gone is None:
                yield from self._ledger.look_again()
                gone = self._ledger.over(start)
            if gone is None:
                break
            yield from self._over(gone, start, sequence)
            start, self.previous = gone.last + 1, gone.digest
        if start > sequence and there:
            yield Finding("tombstone", chain, sequence, COVERED)
            self.previous = None
        elif start < sequence:
            what = f"row {start} is" if start == sequence - 1 else f"rows {start} to {sequence - 1} are"
            behind = f", and without it nobody can tell whether row {sequence} is as it was recorded"
            yield Finding("deleted", chain, start, f"{what} missing{behind if there else ''}")
            self.previous = None
        self.at = sequence - 1

    def _over(self, gone: Gone, start: int, sequence: int) -> Iterator[Finding]:
        """What the tombstone says of the row before, and what was signed of the last row that went."""
        chain, ledger = self._ledger.chain, self._ledger
        is_open = start == self.at + 1 and self._row == self.at and not self.is_closed()
        if gone.first == start and self.previous is not None and gone.before not in ("", self.previous):
            words = "the row is not the one that stood there when those behind it were removed"
            yield Finding("forged", chain, start - 1, words)
        elif is_open and not ledger.is_new(gone) and not ledger.is_back(start - 1):
            yield Finding("unsigned", chain, start - 1, UNPROVED)
        mark = self._ledger.mark(gone.last) if gone.last < sequence else None
        if mark is not None and mark != gone.digest:
            yield Finding(
                "tombstone", chain, gone.last, "a tombstone says otherwise than the signature over the row"
            )

    def end(self, until: int | None = None) -> Iterator[Finding]:
        """`until`: the last row that should be there; absent: the last one that was signed."""
        last = self._ledger.last if until is None else until
        if self.at > self._ledger.last and not self._is_sealed():
            words = f"rows after {self._ledger.last} have no signature over them"
            yield Finding("unsigned", self._ledger.chain, self._ledger.last + 1, words)
        if self.at < last:
            findings = list(self.to(last + 1, there=False))
            for finding in findings:
                yield finding._replace(kind="cut off") if finding.kind == "deleted" else finding

    def _is_sealed(self) -> bool:
        """Whether the tombstone of what followed says which row was the last one."""
        gone = self._ledger.over(self.at + 1)
        return gone is not None and gone.first == self.at + 1 and gone.before == self.previous

    def is_closed(self) -> bool:
        """Whether it ends in a signature: a checkpoint, or the tombstone of what followed."""
        return self._ledger.mark(self.at) is not None or self._is_sealed()


class Unreadable(Exception):
    """What was given is no pack, or no key; in words."""


def shown(text: Any) -> str:
    """On one line and not too long, nothing in it that moves a cursor, colours, or turns the direction of writing:
    whoever forges a pack chooses its texts."""
    plain = "".join(sign if sign.isprintable() else _escaped(sign) for sign in str(text)[:MOST_SHOWN])
    return plain if len(str(text)) <= MOST_SHOWN else f"{plain}…"


def _escaped(sign: str) -> str:
    return sign.encode("unicode_escape").decode()


def parsed(data: bytes) -> dict[str, Any]:
    """A JSON object that every reader reads alike: no name twice, no NaN, no infinity. Raises `ValueError`."""
    found = json.loads(
        data.decode("utf-8", "surrogatepass"), object_pairs_hook=_object, parse_constant=_no_number
    )
    if not isinstance(found, dict):
        raise ValueError("it is something else")
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no number")


class Findings:
    """The first `MOST_FINDINGS` of each kind as they are shown, so that none hides another; and how many there were."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self._kinds: collections.Counter[str] = collections.Counter()

    @property
    def count(self) -> int:
        return self._kinds.total()

    def add(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._kinds[finding.kind] += 1
            if self._kinds[finding.kind] <= MOST_FINDINGS:
                self.kept.append(finding._replace(chain=shown(finding.chain), words=shown(finding.words)))


class Pack:
    """An evidence pack, as a ZIP file or unpacked. Whatever is in it is read in parts of a limited size."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise Unreadable(f"{path} is not there")
        self._zip = None if path.is_dir() else zipfile.ZipFile(path)
        self._folder = path

    def open(self, name: str) -> io.BufferedReader:
        if self._zip is None:
            if not (self._folder / name).is_file():
                raise Unreadable(f"{name} is missing")
            return (self._folder / name).open("rb")
        entry = self._zip.NameToInfo.get(name)
        if entry is None:
            raise Unreadable(f"{name} is missing")
        if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable(f"{name} is encrypted, or packed in a way that no pack is")
        return io.BufferedReader(self._zip.open(entry), CHUNK)  # type: ignore[arg-type]

    def entries(self, name: str) -> Iterator[dict[str, Any]]:
        with self.open(name) as file:
            for number in itertools.count(1):
                line = file.readline(LONGEST_LINE + 1)
                if not line:
                    return
                if len(line) > LONGEST_LINE:
                    raise Unreadable(f"line {number} of {name} is longer than {LONGEST_LINE} bytes")
                try:
                    yield parsed(line)
                except (ValueError, RecursionError) as error:
                    raise Unreadable(f"line {number} of {name} is no JSON object: {error}") from None

    def manifest(self) -> dict[str, Any]:
        with self.open("manifest.json") as file:
            data = file.read(LONGEST_LINE + 1)
        if len(data) > LONGEST_LINE:
            raise Unreadable(f"manifest.json is longer than {LONGEST_LINE} bytes")
        try:
            manifest = parsed(data)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"manifest.json is no JSON object: {error}") from None
        for name, kind in {"about": str, "whole": bool, "rows": int, "files": dict, "chains": list}.items():
            if type(manifest.get(name)) is not kind:
                raise Unreadable(f"manifest.json does not say {name}")
        return manifest

    def keys(self) -> list[bytes]:
        return [base64.b64decode(str(entry.get("publicKey"))) for entry in self.entries("keys.jsonl")]

    def faults(self, listed: dict[str, Any]) -> Iterator[Finding]:
        """Every file is there once, is listed, and is the one that is listed; nothing else is in it. Beside an unpacked
        one may lie what likes."""
        if self._zip is not None:
            yield from _odd(self._zip)
        there = [entry.filename for entry in self._zip.infolist()] if self._zip else []
        for name, times in collections.Counter(there).items():
            if name not in {*FILES, "manifest.json"}:
                yield Finding("file", "", 0, f"{name} is no part of a pack, and nothing in it is verified")
            elif times > 1:
                yield Finding("file", "", 0, f"{name} is there {times} times, and readers differ about which")
        for name in sorted(listed.keys() - set(FILES)):
            words = f"the manifest lists {name}, which is no part of a pack, and nothing in it is verified"
            yield Finding("file", "", 0, words)
        for name in FILES:
            if name not in listed:
                yield Finding("file", "", 0, f"{name} is not listed by the manifest")
            elif self._digest(name) != listed[name]:
                yield Finding("file", "", 0, f"{name} is not the file that the manifest lists")

    def _digest(self, name: str) -> str:
        digest = sha256()
        with self.open(name) as file:
            while chunk := file.read(CHUNK):
                digest.update(chunk)
        return digest.hexdigest()


LOCAL, CENTRAL = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L")
DESCRIPTORS = struct.Struct("<4sLQQ"), struct.Struct("<4s3L")
END, END_64, LOCATOR = struct.Struct("<4s4H2LH"), struct.Struct("<4sQ2H2L4Q"), struct.Struct("<4sLQL")
"""Headers of a ZIP file (APPNOTE 4.3.7 to 4.3.16)."""
SIZES_FOLLOW, WIDE = 8, 1
"""The flag of an entry that was streamed; the extra field of sizes with 64 bits."""
PLAIN_FLAGS = SIZES_FOLLOW | 0x6 | 0x800
"""Besides it: how hard it was packed, and that names are UTF-8."""
PLAIN_EXTRAS = frozenset({WIDE, 0x000A, 0x5455, 0x5855, 0x7875})
"""Besides it: a file's times and owner, as ZIP programs add them. Others give a file another name."""
NO_FILE = 0x8 | 0x10 | 0x400
"""Attributes that Windows gives to a disk's name, a folder and a link."""
MAX_16, MAX_32 = 0xFFFF, 0xFFFFFFFF
"""In a header: the number stands elsewhere, with 64 bits."""


class Odd(Exception):
    """Why programs may read a ZIP file differently, in words."""


def _odd(archive: zipfile.ZipFile) -> Iterator[Finding]:
    """What a ZIP file has besides the files that its directory names, one after the other, and that directory: some
    programs read on from the beginning, or search for another end, and show what nobody verified."""
    file, at = archive.fp, 0
    assert file is not None
    try:
        for entry in sorted(archive.infolist(), key=lambda each: each.header_offset):
            _require_plain(entry)
            at = _past(file, entry, at)
        _require_end(file, at, len(archive.infolist()))
    except Odd as odd:
        words = f"the ZIP file can be read in more than one way, or has more in it than is verified: {odd}"
        yield Finding("file", "", 0, words)


def _require_plain(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if entry.flag_bits & ~PLAIN_FLAGS or entry.comment:
        raise Odd(f"{name} is marked as no file of a pack is, or has a comment")
    # Info-ZIP writes an empty file so, where it cannot go back.
    is_stored = entry.compress_type == zipfile.ZIP_STORED and entry.file_size > 0
    if is_stored and entry.flag_bits & SIZES_FOLLOW:
        raise Odd(f"{name} is not compressed and does not say at its place where it ends")
    mode, attributes = stat.S_IFMT(entry.external_attr >> 16), entry.external_attr & 0xFFFF
    if mode not in (0, stat.S_IFREG) or attributes & NO_FILE:
        raise Odd(f"{name} is said to be a link, or something else that is no file")
    _extras(name, entry.extra)


def _extras(name: str, data: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    while data:
        kind, length = struct.unpack_from("<2H", data) if len(data) >= 4 else (MAX_16, 0)
        if kind not in PLAIN_EXTRAS or kind in found or len(data) < 4 + length:
            raise Odd(f"{name} has a field that is none of a file in a pack")
        found[kind], data = data[4 : 4 + length], data[4 + length :]
    return found


def _past(file: IO[bytes], entry: zipfile.ZipInfo, at: int) -> int:
    """Where what belongs to the entry ends."""
    name = entry.filename
    if entry.header_offset != at:
        raise Odd(f"before {name} there is what its directory does not name")
    file.seek(at)
    _, _, flags, method, _, _, *told, name_length, extra_length = LOCAL.unpack(file.read(LOCAL.size))
    if file.read(name_length) != name.encode("utf-8", "surrogatepass"):
        raise Odd(f"{name} has another name at its place than in the directory")
    extras = _extras(name, file.read(extra_length))
    if (flags, method) != (entry.flag_bits, entry.compress_type) or not _fits(told, extras, entry):
        raise Odd(f"{name} is told of at its place otherwise than in the directory")
    if not _is_filled(file, entry):
        raise Odd(f"{name} ends before the place where the next file begins")
    return _past_descriptor(file, entry) if flags & SIZES_FOLLOW else file.tell()


def _fits(told: Sequence[int], extras: Mapping[int, bytes], entry: zipfile.ZipInfo) -> bool:
    """Whether checksum and sizes are those of the directory, or stand where they may."""
    later = {0} if entry.flag_bits & SIZES_FOLLOW else set()
    wide = {MAX_32} if WIDE in extras else set()
    crc, packed, size = told
    return (
        crc in {entry.CRC, *later}
        and packed in {entry.compress_size, *later, *wide}
        and size in {entry.file_size, *later, *wide}
        and extras.get(WIDE, b"") in _wide_sizes(entry)
    )


def _wide_sizes(entry: zipfile.ZipInfo) -> set[bytes]:
    told = struct.pack("<2Q", entry.file_size, entry.compress_size)
    return {b"", told, bytes(16)} if entry.flag_bits & SIZES_FOLLOW else {b"", told}


def _is_filled(file: IO[bytes], entry: zipfile.ZipInfo) -> bool:
    """Passes the packed bytes: whether all of them are the file's."""
    left = entry.compress_size
    if entry.compress_type == zipfile.ZIP_STORED:
        file.seek(left, os.SEEK_CUR)
        return left == entry.file_size
    inflating = zlib.decompressobj(-zlib.MAX_WBITS)
    while left and not inflating.eof:
        block = file.read(min(CHUNK, left))
        if not block:
            return False
        left -= len(block)
        while block and not inflating.eof:
            inflating.decompress(block, CHUNK)
            block = inflating.unconsumed_tail
    inflating.flush()
    return inflating.eof and not inflating.unused_data and not left


def _past_descriptor(file: IO[bytes], entry: zipfile.ZipInfo) -> int:
    at = file.tell()
    follows = file.read(DESCRIPTORS[0].size)
    for descriptor in DESCRIPTORS:
        if follows[: descriptor.size] == _packed(
            descriptor, b"PK\7\10", entry.CRC, entry.compress_size, entry.file_size
        ):
            return at + descriptor.size
    raise Odd(f"behind {entry.filename} there is something else than its sizes")


def _packed(header: struct.Struct, magic: bytes, *numbers: int) -> bytes | None:
    try:
        return header.pack(magic, *numbers)
    except struct.error:  # a number that is too large for this form
        return None


def _require_end(file: IO[bytes], start: int, count: int) -> None:
    """The directory begins right here, and with its end the file ends."""
    file.seek(start)
    for _ in range(count):
        header = file.read(CENTRAL.size)
        if not header.startswith(b"PK\1\2") or len(header) != CENTRAL.size:
            raise Odd("before its directory there is what that does not name")
        file.seek(sum(CENTRAL.unpack(header)[10:13]), os.SEEK_CUR)
    at = file.tell()
    rest = file.read(END_64.size + LOCATOR.size + END.size + 1)
    if not _is_end(rest, [count, count, at - start, start], at):
        raise Odd("its end is not right behind its directory, or has a comment, or something follows it")


def _is_end(rest: bytes, told: list[int], at: int) -> bool:
    """`told`: how many files, twice; how long the directory is, and where it begins. `at`: where it ends."""
    elsewhere = [-1] * len(told)
    if len(rest) == END_64.size + LOCATOR.size + END.size:
        magic, size, _, _, *numbers = END_64.unpack(rest[: END_64.size])
        if (magic, size, numbers) != (b"PK\6\6", END_64.size - 12, [0, 0, *told]):
            return False
        rest = rest[END_64.size :]
        if not rest.startswith(LOCATOR.pack(b"PK\6\7", 0, at, 1)):
            return False
        rest, elsewhere = rest[LOCATOR.size :], [MAX_16, MAX_16, MAX_32, MAX_32]
    if len(rest) != END.size:
        return False
    magic, disk, begins_on, *numbers, comment = END.unpack(rest)
    fits = all(number in pair for number, *pair in zip(numbers, told, elsewhere, strict=True))
    return fits and (magic, disk, begins_on, comment) == (b"PK\5\6", 0, 0, 0)


class Ledgers(dict[str, Ledger]):
    def __init__(self, signatures: Signatures, removals: Removals) -> None:
        super().__init__()
        self._signatures, self._removals = signatures, removals

    def __missing__(self, chain: str) -> Ledger:
        self[chain] = Ledger(chain, self._signatures, self._removals)
        return self[chain]


class Covered(NamedTuple):
    """The first and the last row of a chain that the pack shows, and when their calls began."""

    first: int
    last: int
    since: str
    until: str


class PackWalk:
    """Goes along the rows of a pack. Rows that are not part of it stand in by their body hash alone.

    `whole`: it says that it holds all rows from its first to its last one. Then nothing may be left out in between, and
    only rows behind the last one may stand in, to lead to a signature.
    """

    def __init__(self, ledgers: Mapping[str, Ledger], *, whole: bool) -> None:
        self._ledgers, self._whole = ledgers, whole
        self._walks: dict[str, Walk] = {}
        self._over: set[str] = set()
        self.covered: dict[str, Covered] = {}
        self.rows = 0

    def along(self, entries: Iterable[dict[str, Any]]) -> Iterator[Finding]:
        for entry in entries:
            chain, sequence = str(entry.get("chain", "")), entry.get("sequence")
            if type(sequence) is not int:
                raise Unreadable(f"a row of chain {chain} has no sequence number")
            ledger = self._ledgers.get(chain)
            if ledger is None:
                yield Finding("unsigned", chain, sequence, "no checkpoint of its chain is in the pack")
                continue
            yield from self._row(ledger, sequence, entry)
        for chain in list(self._walks):
            yield from self._closed(chain)

    def _row(self, ledger: Ledger, sequence: int, entry: dict[str, Any]) -> Iterator[Finding]:
        chain = ledger.chain
        yield from self._beginning(ledger, sequence, entry)
        walk = self._walks[chain]
        if "bodyHash" in entry:
            self._over.add(chain)
            yield from self._stand_in(walk, ledger, sequence, entry)
            return
        if self._whole and chain in self._over:
            self._over.discard(chain)
            words = "rows before it are hidden, in a pack that is said to be whole"
            yield Finding("deleted", chain, sequence, words)
        if sequence > walk.at:
            self._count(chain, sequence, str(entry.get("startedAt")))
        claimed = str(entry.pop("hash", ""))
        yield from walk.along([Run(sequence, sha256(encoded(entry)).hexdigest(), [claimed])])

    def _beginning(self, ledger: Ledger, sequence: int, entry: dict[str, Any]) -> Iterator[Finding]:
        """A row that tells which hash it follows begins a part of its own. Only behind what was passed: a part that is
        there twice would fit twice."""
        chain, walk = ledger.chain, self._walks.get(ledger.chain)
        told = "previousHash" in entry
        previous = entry.pop("previousHash", ZEROS)
        if walk is not None and (not told or sequence <= walk.at):
            return
        if self._whole and walk is not None:
            words = "the pack begins anew here: rows before it were left out"
            yield Finding("deleted", chain, sequence, words)
        yield from self._closed(chain)
        # What is no hash follows nothing: the row will not fit.
        self._walks[chain] = Walk(
            ledger, at=sequence - 1, previous=previous if isinstance(previous, str) else ""
        )

    def _count(self, chain: str, sequence: int, began: str) -> None:
        self.rows += 1
        first = self.covered.get(chain) or Covered(sequence, sequence, began, began)
        self.covered[chain] = first._replace(last=sequence, until=began)

    def _stand_in(
        self, walk: Walk, ledger: Ledger, sequence: int, entry: dict[str, Any]
    ) -> Iterator[Finding]:
        if besides := entry.keys() - STAND_IN:
            words = f"a row that its hash stands in for has fields that nobody signed: {', '.join(sorted(besides))}"
            yield Finding("forged", ledger.chain, sequence, words)
        if sequence != walk.at + 1:
            yield from walk.to(sequence)
        if sequence <= walk.at:
            return
        if walk.previous is None:
            walk.passed(sequence, None)
            return
        digest = linked(walk.previous, str(entry["bodyHash"]))
        if ledger.mark(sequence) not in (None, digest):
            yield Finding(
                "forged", ledger.chain, sequence, "the rows before it do not lead to the hash that was signed"
            )
        walk.passed(sequence, digest)

    def _closed(self, chain: str) -> Iterator[Finding]:
        walk = self._walks.get(chain)
        if walk is not None and not walk.is_closed():
            yield Finding("cut off", chain, walk.at, "the pack ends here without a signature over it")

    def reach(self) -> Iterator[str]:
        """A line for each chain, what the pack shows of it: one that starts late or ends early is genuine all the same."""
        for chain, (first, last, since, until) in self.covered.items():
            line = f"chain {chain}: rows {first} to {last}, whose calls began at {since} and {until}"
            yield "; ".join([line, *(self._around(chain, first, last) if self._whole else ())])

    def _around(self, chain: str, first: int, last: int) -> Iterator[str]:
        ledger, at = self._ledgers[chain], self._walks[chain].at
        start, end = first, at
        while gone := ledger.over(start - 1):
            start = gone.first
        while gone := ledger.over(end + 1):
            end = gone.last
        for begin, until, what in (
            (1, start - 1, "are not in the pack"),
            (start, first - 1, "are gone, as tombstones tell"),
            (last + 1, at, "are here as hashes alone"),
            (at + 1, end, "are gone, as tombstones tell"),
        ):
            if begin <= until:
                yield f"{begin} to {until} {what}"


def read_keys(path: Path) -> list[bytes]:
    """A public key a line, as base64. Raises `Unreadable`."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows begin a file with a mark
        keys = [base64.b64decode(line, validate=True) for line in text.split()]
    except (OSError, ValueError) as error:
        raise Unreadable(f"No public key can be read from {path}: {error}") from None
    if not keys or any(len(key) != 32 for key in keys):
        raise Unreadable(f"No public key can be read from {path}: 32 bytes as base64, one key a line")
    return keys


class Verified(NamedTuple):
    """`reach`: a line for each chain, which rows the pack shows. `removals`: what its tombstones tell of."""

    manifest: dict[str, Any]
    rows: int
    findings: Findings
    reach: list[str]
    removals: Removals


def verify(pack: Pack, believed: Sequence[bytes] = ()) -> Verified:
    """`believed`: public keys; none: those in the pack. Raises `Unreadable`, and what Python makes of broken files."""
    manifest, findings, removals = pack.manifest(), Findings(), Removals()
    findings.add(pack.faults(manifest["files"]))
    ledgers = Ledgers(Signatures(believed or pack.keys(), ed25519), removals)
    for chain, entries in _by_chain(pack, "checkpoints.jsonl"):
        findings.add(ledgers[chain].checkpoints(entries, whole=False))
    for chain, entries in _by_chain(pack, "tombstones.jsonl"):
        findings.add(ledgers[chain].tombstones(entries))
    walk = PackWalk(ledgers, whole=manifest["whole"])
    findings.add(walk.along(pack.entries("rows.jsonl")))
    if walk.rows != manifest["rows"]:
        words = f"{walk.rows} rows are here, the manifest says {manifest['rows']}"
        findings.add([Finding("cut off", "", 0, words)])
    findings.add(_left_out(manifest["chains"], walk, ledgers))
    return Verified(manifest, walk.rows, findings, list(walk.reach()), removals)


def _left_out(listed: list[Any], walk: PackWalk, ledgers: Ledgers) -> Iterator[Finding]:
    """Chains that the manifest lists, and of which the pack has no row nor the note that rows were removed."""
    for each in listed:
        chain = str(each.get("chain")) if isinstance(each, dict) else ""
        if chain not in walk.covered and not ledgers[chain].gone:
            words = "the manifest lists this chain, and no row of it is here"
            yield Finding("cut off", chain, 0, words)


def _by_chain(pack: Pack, name: str) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """What the file has of one chain in a row; of each it may have more later."""
    return itertools.groupby(pack.entries(name), lambda entry: str(entry.get("chain", "")))


def counted(number: int, what: str, none: str = "no") -> str:
    return f"{number or none} {what}{'' if number == 1 else 's'}"


def told_of(removals: Removals) -> Iterator[str]:
    for why, gone in removals.items():
        rows = f"{counted(gone.rows, 'row')} {'was' if gone.rows == 1 else 'were'} {why.how}"
        said = f"under {counted(gone.tombstones, 'tombstone')}: {shown(why.reason)} (by {shown(why.by)})"
        yield f"{rows}, {said}, from {shown(gone.since)} to {shown(gone.until)}"


def tell(verified: Verified, believed: Sequence[bytes]) -> None:
    findings, manifest = verified.findings, verified.manifest
    for finding in findings.kept:
        print(finding)
    if findings.count > len(findings.kept):
        print(f"and {findings.count - len(findings.kept)} more")
    rows = counted(verified.rows, "row", none="0")
    print(f"{rows} of {shown(manifest['about'])}: {counted(findings.count, 'finding')}")
    for line in verified.reach:
        print(shown(line))
    for line in told_of(verified.removals):
        print(line)
    for line in _proved(verified, believed):
        print(line)


def _proved(verified: Verified, believed: Sequence[bytes]) -> Iterator[str]:
    """What there is to be said of what was verified, for better or worse."""
    if not verified.rows:
        yield "No row is in this pack, so it proves nothing of any call: it looks the same where all were left out."
    if verified.rows or verified.removals or verified.findings.count:
        named = f"the {'key' if len(believed) == 1 else 'keys'} you named"
        own = "the keys in the pack; compare them with those that came to you another way"
        yield f"Signatures checked with {named if believed else own}."
    if verified.rows and not verified.findings.count and not verified.manifest["whole"]:
        are = "are genuine" if believed else "are as they were signed with the keys in the pack"
        yield f"A selection: these rows {are}, which does not say that they are all there were."


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Verifies a record of calls exported from LLM Caller.")
    parser.add_argument(
        "pack", type=Path, help="the evidence pack: a ZIP file, or the folder it was unpacked into"
    )
    parser.add_argument(
        "--public-key",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a key to believe, as base64, or several, one a line; may be given several times. Else those in the pack",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        believed = [key for path in options.public_key for key in read_keys(path)]
    except Unreadable as error:
        print(shown(error), file=sys.stderr)
        return 2
    try:
        verified = verify(Pack(options.pack), believed)
    except Exception as error:
        # Also what Python makes of a broken file, a checksum or too deep a nesting: it was not verified.
        why = error if isinstance(error, Unreadable) else f"{type(error).__name__}: {error}"
        print(f"This is no evidence pack that can be read: {shown(why)}", file=sys.stderr)
        return 2
    tell(verified, believed)
    return 1 if verified.findings.count else 0


# Ed25519 (RFC 8032, 5.1.7) with Python's integers: slow, and needs nothing installed.
P = 2**255 - 19
ORDER = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT = pow(2, (P - 1) // 4, P)
Point = tuple[int, int, int, int]


def _recover(y: int, sign: int) -> int | None:
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    return P - x if x & 1 != sign else x


def _point(data: bytes) -> Point | None:
    number = int.from_bytes(data, "little")
    y = number & (1 << 255) - 1
    x = _recover(y, number >> 255)
    return None if x is None else (x, y, 1, x * y % P)


def _plus(one: Point, other: Point) -> Point:
    a = (one[1] - one[0]) * (other[1] - other[0]) % P
    b = (one[1] + one[0]) * (other[1] + other[0]) % P
    c, d = 2 * one[3] * other[3] * D % P, 2 * one[2] * other[2] % P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % P, g * h % P, f * g % P, e * h % P


def _times(factor: int, point: Point) -> Point:
    total: Point = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = _plus(total, point)
        point, factor = _plus(point, point), factor >> 1
    return total


_BASE_Y = 4 * pow(5, P - 2, P) % P
_BASE_X = _recover(_BASE_Y, 0) or 0
BASE: Point = (_BASE_X, _BASE_Y, 1, _BASE_X * _BASE_Y % P)


def ed25519(public: bytes, signature: bytes, message: bytes) -> bool:
    if len(public) != 32 or len(signature) != 64:
        return False
    key, nonce = _point(public), _point(signature[:32])
    factor = int.from_bytes(signature[32:], "little")
    if key is None or nonce is None or factor >= ORDER:
        return False
    challenge = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    left, right = _times(factor, BASE), _plus(nonce, _times(challenge, key))
    return not (
        (left[0] * right[2] - right[0] * left[2]) % P or (left[1] * right[2] - right[1] * left[2]) % P
    )


def exit_code() -> int:
    """Of the script: 1 stands for findings that were printed, and for nothing else that may happen."""
    try:
        code = main()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except Exception as error:
        # What is still in the buffer would fail again when Python ends.
        for stream in filter(None, (sys.stdout, sys.stderr)):
            with contextlib.suppress(Exception):
                stream.flush()
        with contextlib.suppress(Exception):
            print(
                f"What was found cannot be told: {type(error).__name__}: {error}", file=sys.stderr, flush=True
            )
        os._exit(2)


if __name__ == "__main__":
    sys.exit(exit_code())
