"""The home page's charts: the same numbers for the script that draws them and for the tables below them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from gateway.console.words import amount, duration, rate_unit
from telemetry.figures import Figures, Point, Range
from telemetry.sums import Percentiles


class Series(NamedTuple):
    label: str
    values: list[float | None]


class Chart(NamedTuple):
    """`unit`: "ms", or what is counted. `rows`: the table below it, a time and a text for each series, newest first."""

    key: str
    title: str
    unit: str
    series: tuple[Series, ...]
    times: list[int]
    rows: list[tuple[str, list[str]]]


def charts(points: Sequence[Point], span: Range) -> list[Chart]:
    whole = max((point.minutes for point in points), default=1)
    per, length = rate_unit(max((point.figures.calls for point in points), default=0) / whole)

    def rate(count: Callable[[Figures], int]) -> list[float | None]:
        return [round(count(point.figures) / point.minutes * length, 3) for point in points]

    def total(count: Callable[[Figures], int]) -> list[float | None]:
        return [count(point.figures) for point in points]

    ended = (
        Series("served", rate(lambda f: f.count("served"))),
        Series("failed", rate(lambda f: f.count("failed"))),
        Series("refused", rate(lambda f: f.count("refused"))),
        Series("broken off", rate(lambda f: f.count("broken-off"))),
    )
    drawn = (
        ("calls", f"Calls per {per}", "calls", ended),
        ("latency", "Latency", "ms", _percentiles([point.figures.latency for point in points])),
        ("first", "Time to first token", "ms", _percentiles([point.figures.first_event for point in points])),
        (
            "tokens",
            f"Tokens per {_step(span)}",
            "tokens",
            (Series("in", total(lambda f: f.input_tokens)), Series("out", total(lambda f: f.output_tokens))),
        ),
    )
    return [_chart(*one, points=points, span=span) for one in drawn]


def data(drawn: Sequence[Chart]) -> list[dict[str, Any]]:
    """What the script reads. Times in seconds since the epoch."""
    return [
        {
            "key": chart.key,
            "unit": chart.unit,
            "times": chart.times,
            "series": [{"label": one.label, "values": one.values} for one in chart.series],
        }
        for chart in drawn
    ]


def _percentiles(found: Sequence[Percentiles | None]) -> tuple[Series, ...]:
    """A gap where nothing was called."""
    return tuple(
        Series(label, [round(one[n], 1) if one else None for one in found])
        for n, label in enumerate(Percentiles._fields)
    )


def _chart(
    key: str, title: str, unit: str, series: tuple[Series, ...], *, points: Sequence[Point], span: Range
) -> Chart:
    clock = "%H:%M" if span.whole == "minute" else "%b %d, %H:%M"
    rows = [
        (f"{point.start:{clock}}", [_text(one.values[n], unit) for one in series])
        for n, point in enumerate(points)
    ]
    times = [int(point.start.timestamp()) for point in points]
    return Chart(key, title, unit, series, times, rows[::-1])


def _text(value: float | None, unit: str) -> str:
    if unit == "ms":
        return duration(value)
    return amount(value or 0) if unit == "tokens" or (value or 0) >= 100 else f"{value or 0:.3g}"


def _step(span: Range) -> str:
    if span.step < timedelta(hours=1):
        minutes = span.step // timedelta(minutes=1)
        return "minute" if minutes == 1 else f"{minutes} minutes"
    return f"{span.step // timedelta(hours=1)} hours"
