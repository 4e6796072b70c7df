"""With which checkpoint a chain begins once the rows before it are gone for their age.

Checkpoints that sign nothing but such rows can go too, or a record of ninety days would keep those of years. The
tombstone that is left for the last of the rows names the first checkpoint that stays, and what it says of the one
before it: so it is signed that what is missing was let go, and nothing else can be left out in this way.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from telemetry.audit.canonical import link_of
from telemetry.audit.reader import LARGEST
from telemetry.audit.stones import covering, genuine
from telemetry.audit.verifier import Signatures, is_checkpoint
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

AT_ONCE = 5000


class Beginning(NamedTuple):
    """`sequence`: of the last row under the checkpoint `number`; all up to it are gone. `previous`: the link to the
    checkpoint before."""

    number: int
    sequence: int
    previous: str

    def told(self) -> dict[str, Any]:
        return self._asdict()


def next_beginning(signatures: Signatures, chain: str, runs: Iterable[Sequence[Any]]) -> Beginning | None:
    """A later one than now, when there is one. `runs`: first and last number of rows that have just been removed, of
    which no tombstone tells yet. None too where checkpoints are not genuine or do not follow each other: they stay, as
    evidence."""
    kept = (
        AuditCheckpoint.objects.filter(chain=chain)
        .order_by("number")
        .only("chain", "line", *AuditCheckpoint.PLACE)
    )
    upto = _first_row(chain)
    if upto is not None:
        kept = kept.filter(sequence__lt=upto)
    block = list(kept[: AT_ONCE + 1])
    if len(block) < 2:
        return None
    now = _now(signatures, chain, block[0].number)
    end = _gone_upto(signatures, chain, now.sequence, runs)
    entries = [entry for checkpoint in block if (entry := checkpoint.entry())["sequence"] <= end]
    if len(entries) < 2 or not _follow(entries, now) or signatures.fault("checkpoint", entries[-1]):
        return None
    newest = entries[-1]
    return Beginning(newest["number"], newest["sequence"], newest["previous"])


def let_go(chain: str, beginning: Beginning) -> None:
    gone = AuditCheckpoint.objects.filter(chain=chain, number__lt=beginning.number)
    gone._raw_delete(gone.db)  # `delete` would read them first, with whatever columns cannot be


def _first_row(chain: str) -> int | None:
    numbered = RequestLog.objects.filter(chain=chain, sequence__lte=LARGEST)  # SQLite takes texts too
    row = numbered.order_by("sequence").only("sequence").first()
    return None if row is None else row.sequence


def _now(signatures: Signatures, chain: str, first: int) -> Beginning:
    """As the tombstones tell it. `first`: the number of the first checkpoint that is there."""
    if first > 1:
        for entry in genuine(AuditTombstone.objects.filter(chain=chain).order_by("-pk"), signatures):
            if begins := entry.get("begins"):
                return Beginning(begins["number"], begins["sequence"], begins["previous"])
    return Beginning(1, 0, "")


def _gone_upto(signatures: Signatures, chain: str, start: int, runs: Iterable[Sequence[Any]]) -> int:
    """The last row up to which none is missing without a tombstone, from `start` on."""
    told = [run for entry in covering(chain, start + 1, LARGEST, signatures) for run in entry["runs"]]
    end = start
    for first, last in sorted((int(run[0]), int(run[1])) for run in (*told, *runs)):
        if first > end + 1:
            break
        end = max(end, last)
    return end


def _follow(entries: Sequence[Any], now: Beginning) -> bool:
    """Whether they are one unbroken row of checkpoints from the beginning on. Their signatures need no look: the last
    one stays, and by their links it stands for all."""
    number, link = now.number, now.previous
    for entry in entries:
        if not is_checkpoint(entry) or (entry["number"], entry["previous"]) != (number, link):
            return False
        number, link = number + 1, link_of(entry)
    return True
