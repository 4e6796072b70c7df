"""The home page's tables: calls by how they ended, by provider and by client, as text."""

from collections.abc import Iterable
from typing import NamedTuple

from gateway.console.words import amount, duration, rate, share
from telemetry.figures import Figures, Named
from telemetry.sums import Percentiles

PERCENTILES = Percentiles._fields


class Count(NamedTuple):
    """Of the calls with this outcome, and which part of their sort they are."""

    code: str
    calls: str
    part: str


class Ending(NamedTuple):
    """One way not to be answered. `key`: the class, as the record's filter calls it."""

    key: str
    title: str
    meaning: str
    none: str
    counts: tuple[Count, ...] = ()


class Cell(NamedTuple):
    """`label`: the column's name, for where the table has no columns. `counts`: what the number is made of, all
    together calls of the class `key`."""

    label: str
    text: str
    share: str = ""
    key: str = ""
    counts: tuple[Count, ...] = ()


class Row(NamedTuple):
    name: str
    cells: list[Cell]


class Breakdown(NamedTuple):
    """`field`: the column of the record that has the names. `more`: whether there are others than these rows."""

    title: str
    field: str
    rows: list[Row]
    more: bool


ENDINGS = (
    Ending("failed", "Failed", "A provider or the gateway failed.", "No call failed in this time."),
    Ending(
        "refused",
        "Refused",
        "By the gateway or a limit, also a provider's: wrong, not allowed, or too many.",
        "No call was refused in this time.",
    ),
    Ending(
        "broken-off",
        "Broken off",
        "The client went away, or the gateway was stopped.",
        "No call was broken off in this time.",
    ),
)
"""The classes of the record but `served`, in its words."""


def endings(total: Figures) -> list[Ending]:
    return [ending._replace(counts=_counts(total, ending.key)) for ending in ENDINGS]


def rows(named: Iterable[Named], minutes: float) -> list[Row]:
    """`minutes`: how long the calls were counted."""
    return [Row(name, _cells(figures, minutes)) for name, figures in named]


def _cells(f: Figures, minutes: float) -> list[Cell]:
    return [
        Cell("Calls", amount(f.calls)),
        Cell("Rate", rate(f.calls, minutes)),
        *(_ended(f, ending) for ending in ENDINGS),
        *_times("Latency", f.latency),
        *_times("First token", f.first_event),
        Cell("Tokens in", amount(f.input_tokens)),
        Cell("Tokens out", amount(f.output_tokens)),
    ]


def _times(what: str, found: Percentiles | None) -> list[Cell]:
    return [
        Cell(f"{what} {name}", duration(ms))
        for name, ms in zip(PERCENTILES, found or (None, None, None), strict=True)
    ]


def _ended(f: Figures, ending: Ending) -> Cell:
    calls = f.count(ending.key)
    return Cell(ending.title, amount(calls), share(calls, f.calls), ending.key, _counts(f, ending.key))


def _counts(f: Figures, key: str) -> tuple[Count, ...]:
    whole = f.count(key)
    return tuple(Count(code, amount(calls), share(calls, whole)) for code, calls in f.ended[key])
