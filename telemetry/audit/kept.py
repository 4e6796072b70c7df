"""The checkpoints that the database keeps, as the lines that are copied, in pages.

What somebody has put in their place, and is none, is passed over: it would stand for good in a file that only grows.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
from django.db import connection
from django.db.models import BinaryField, QuerySet
from django.db.models.functions import Cast

from telemetry.audit.reader import LARGEST
from telemetry.audit.verifier import is_checkpoint
from telemetry.models import AuditCheckpoint

AT_ONCE = 1000
LONGEST = 64 * 1024
"""Bytes of a line: a hundred times what a checkpoint has."""
_decode = msgspec.json.decode


class Kept(NamedTuple):
    chain: str
    number: int
    line: bytes


def checkpoint(line: bytes) -> dict[str, Any] | None:
    """What a line says; None for what is no checkpoint."""
    try:
        entry = _decode(line) if len(line) <= LONGEST else None
    except (ValueError, RecursionError):
        return None
    return entry if is_checkpoint(entry) else None


def has(chain: str) -> bool:
    return AuditCheckpoint.objects.filter(chain=chain).exists()


def of_chain(chain: str, after: int) -> Iterator[list[Kept]]:
    """By their numbers, those behind `after`."""
    kept = AuditCheckpoint.objects.filter(chain=chain, number__lte=LARGEST).order_by("number")
    page = _page(kept.filter(number__gt=after))
    while page:
        yield _lines(page)
        after = max(after + 1, int(page[-1][2]))
        page = _page(kept.filter(number__gt=after)) if len(page) == AT_ONCE else []


def of_others(chain: str) -> Iterator[list[Kept]]:
    """Of all chains but this one, in the order in which they were kept."""
    kept, after = AuditCheckpoint.objects.exclude(chain=chain).order_by("pk"), -LARGEST
    while page := _page(kept.filter(pk__gt=after)):
        yield _lines(page)
        after = page[-1][0]


def _page(kept: QuerySet[AuditCheckpoint]) -> list[tuple[int, Any, Any, Any]]:
    if connection.vendor != "sqlite":
        return list(kept.values_list("pk", "chain", "number", "line")[:AT_ONCE])
    # As bytes: a text that is none would stop the driver.
    cells = {"its_chain": Cast("chain", BinaryField()), "its_line": Cast("line", BinaryField())}
    return list(kept.annotate(**cells).values_list("pk", "its_chain", "number", "its_line")[:AT_ONCE])


def _lines(page: list[tuple[int, Any, Any, Any]]) -> list[Kept]:
    found = []
    for _, chain, number, cell in page:
        line = _bytes(cell)
        entry = checkpoint(line)
        if entry is not None and b"\n" not in line and _place(entry) == (_bytes(chain), number):
            found.append(Kept(entry["chain"], number, line))
    return found


def _place(entry: dict[str, Any]) -> tuple[bytes, int]:
    return _bytes(entry["chain"]), entry["number"]


def _bytes(cell: str | bytes | None) -> bytes:
    return cell.encode("utf-8", "surrogatepass") if isinstance(cell, str) else bytes(cell or b"")
