"""The verdict of the chaos tests: each way to lose or invent a call is seen."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "uat"))
from chaos_gateway import Row
from chaos_load import Sent
from chaos_stub import Told
from chaos_verdict import Figure, judge

NO_ROW = "... without a row"
NOT_OK = "... without a row `ok` of their call id"
TWICE = "... too many for their call"
ROLLUPS = "... more or fewer than the roll-ups tell"
CUT_OFF = "calls cut off at the provider and not UNKNOWN"

ANSWERED = Sent("call-1", 0.0, status=200, call_id="00-01", whole=True)
CUT = Sent("call-2", 0.0, error="ServerDisconnectedError")
TOLD = Told(asked=["call-1", "call-2"], ended={"call-1"})
ROWS = [Row("0001", "call-1", "ok"), Row("0002", "call-2", "UNKNOWN")]


def missed(rows: list[Row], summed_up: int | None = None) -> set[str]:
    figures = judge([ANSWERED, CUT], TOLD, rows, len(rows) if summed_up is None else summed_up)
    return {figure.name for figure in figures if figure.missed}


def test_what_happened_as_promised_misses_nothing() -> None:
    assert missed(ROWS) == set()


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (ROWS[:1], {NO_ROW}),
        (ROWS[1:], {NO_ROW, NOT_OK}),
        ([ROWS[0]._replace(outcome="UNKNOWN"), ROWS[1]], {NOT_OK}),
        ([ROWS[0]._replace(call_id="0009"), ROWS[1]], {NOT_OK}),
        ([ROWS[0], ROWS[1]._replace(outcome="ok")], {CUT_OFF}),
        ([*ROWS, ROWS[1]], {TWICE}),
        ([*ROWS, Row("0003", "call-2", "UNKNOWN")], {TWICE}),
    ],
)
def test_each_way_to_lose_or_invent_a_call_is_seen(rows: list[Row], found: set[str]) -> None:
    assert missed(rows) == found


def test_roll_ups_that_tell_of_more_or_fewer_calls_are_seen() -> None:
    assert missed(ROWS, summed_up=1) == missed(ROWS, summed_up=3) == {ROLLUPS}


def test_a_figure_that_is_no_number_or_never_came_is_missed() -> None:
    assert Figure("seconds", float("inf"), 5).missed
    assert Figure("seconds", float("nan"), 5).missed
    assert not Figure("seconds", 5, 5).missed
    assert not Figure("only told", 10**9).missed
