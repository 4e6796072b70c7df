"""What the chaos tests hold against what: what clients saw, what the provider was asked, what is on record."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chaos_gateway import Row
from chaos_load import Sent
from chaos_stub import Told


class Figure(NamedTuple):
    """`most`: the largest value that keeps the promise; None where the figure only informs."""

    name: str
    value: float
    most: float | None = None

    @property
    def missed(self) -> bool:
        return self.most is not None and not self.value <= self.most


def judge(sent: Iterable[Sent], told: Told, rows: Sequence[Row], summed_up: int) -> list[Figure]:
    """Every call was sent once under an id of its own, so that a second row of an id is a duplicate."""
    by_request = {row.request_id: row for row in rows}
    sent = list(sent)
    answered = {one.request_id: one for one in sent if one.whole}
    open_ended = set(told.asked) - told.ended
    return [
        Figure("calls sent", len(sent)),
        Figure("calls that reached the provider", len(set(told.asked))),
        Figure("... without a row", len(set(told.asked) - by_request.keys()), 0),
        Figure("answers received whole", len(answered)),
        Figure("... without a row `ok` of their call id", sum(not on_record(one, by_request) for one in answered.values()), 0),
        Figure("rows", len(rows)),
        Figure("... too many for their call", too_many(rows), 0),
        Figure("... more or fewer than the roll-ups tell", abs(len(rows) - summed_up), 0),
        Figure("... UNKNOWN", sum(row.outcome == "UNKNOWN" for row in rows)),
        Figure("calls cut off at the provider and not UNKNOWN", sum(
            name in by_request and by_request[name].outcome != "UNKNOWN" for name in open_ended
        ), 0),
    ]  # fmt: skip


def on_record(one: Sent, by_request: dict[str, Row]) -> bool:
    row = by_request.get(one.request_id)
    return row is not None and row.outcome == "ok" and row.call_id == one.call_id.replace("-", "")


def too_many(rows: Iterable[Row]) -> int:
    by_request, by_call = Counter(row.request_id for row in rows), Counter(row.call_id for row in rows)
    return max(sum(n - 1 for n in counted.values()) for counted in (by_request, by_call))


def errors(sent: Iterable[Sent]) -> int:
    return sum(not one.whole for one in sent)


def p99_ms(sent: Sequence[Sent]) -> float:
    ordered = sorted(one.seconds for one in sent)
    return ordered[int(len(ordered) * 0.99)] * 1000


def print_table(title: str, figures: Sequence[Figure]) -> None:
    print(f"\n{title}")
    for figure in figures:
        wanted = "" if figure.most is None else f"<= {figure.most:g}"
        verdict = "" if figure.most is None else "MISSED" if figure.missed else "ok"
        value = f"{figure.value:,}" if isinstance(figure.value, int) else f"{figure.value:,.2f}"
        print(f"  {figure.name:52}{value:>12}   {wanted:10}{verdict}".rstrip(), flush=True)
