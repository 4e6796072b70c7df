"""Numbers as people read them."""

import pytest

from gateway.console.words import rate


@pytest.mark.parametrize(
    ("calls", "minutes", "words"),
    [
        (0, 60, "–"),
        (3, 0, "–"),
        (60, 60, "1 a minute"),
        (47, 1_420, "2 an hour"),
        (3, 1_440, "3 a day"),
        (1, 10_080, "0.14 a day"),
        (9_000, 60, "150 a minute"),
        (75_000, 60, "1,250 a minute"),
    ],
)
def test_a_rate_has_the_shortest_unit_with_at_least_one_call(calls: int, minutes: float, words: str) -> None:
    assert rate(calls, minutes) == words
