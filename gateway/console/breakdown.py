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
    """One way not to be answered."""

    key: str
    title: str
    meaning: str
    none: str
    counts: list[Count]


class Cell(NamedTuple):
    """`label`: the column's name, for where the table has no columns. `counts`: what the number is made of."""

    label: str
    text: str
    share: str = ""
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


def endings(total: Figures) -> list[Ending]:
    return [
        Ending(
            "errors",
            "Errors by class",
            "The gateway or a provider failed.",
            "No error in this time.",
            list(_counts(total.failures, total.errors)),
        ),
        Ending(
            "refused",
            "Refused calls by class",
            "Their callers' doing: wrong, not allowed or above a limit; or the client went away.",
            "No call was refused in this time.",
            list(_counts(total.refusals, total.refused)),
        ),
    ]


def rows(named: Iterable[Named], minutes: float) -> list[Row]:
    """`minutes`: how long the calls were counted."""
    return [Row(name, _cells(figures, minutes)) for name, figures in named]


def _cells(f: Figures, minutes: float) -> list[Cell]:
    return [
        Cell("Calls", amount(f.calls)),
        Cell("Rate", rate(f.calls, minutes)),
        Cell("Errors", amount(f.errors), share(f.errors, f.calls), tuple(_counts(f.failures, f.errors))),
        Cell("Refused", amount(f.refused), share(f.refused, f.calls), tuple(_counts(f.refusals, f.refused))),
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


def _counts(counted: Iterable[tuple[str, int]], whole: int) -> Iterable[Count]:
    return (Count(code, amount(calls), share(calls, whole)) for code, calls in counted)
