"""A difference in a few words, with literals."""

import pytest

from gateway.difference import Change, Detail
from gateway.happening import happenings, in_short

LMSTUDIO, BOB = ("provider", "lmstudio"), ("client", "bob")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(*LMSTUDIO, "added", (Detail("baseUrl", None, "x"),)), ["Provider lmstudio added"]),
        (Change(*BOB, "removed", (Detail("token AbC", words="removed"),)), ["Client bob removed"]),
        (
            Change(
                *LMSTUDIO, "changed", (Detail("scores.chat", "90", "12"), Detail("scores.embed", "1", "2"))
            ),
            ["Provider lmstudio changed: scores"],
        ),
        (
            Change(
                *LMSTUDIO, "changed", (Detail("notes", "a", "b"), Detail("order", words="moved from 1 to 2"))
            ),
            ["Provider lmstudio changed: notes, order"],
        ),
        (
            Change(*LMSTUDIO, "changed", tuple(Detail(f"f{n}", "a", "b") for n in range(7))),
            ["Provider lmstudio changed: f0, f1, f2, f3, f4 and 2 more"],
        ),
        (
            Change(*LMSTUDIO, "moved", (Detail("order", words="moved from 2 to 1"),)),
            ["Provider lmstudio moved from 2 to 1"],
        ),
        (Change("alias", "fast", "changed", (Detail("", "a/m", "b/m"),)), ["Alias fast changed"]),
        (Change("header", "description", "changed", (Detail("", "a", "b"),)), ["Description changed"]),
        (
            Change(*BOB, "changed", (Detail("token AbC", words="revoked"),)),
            ["Token AbC of client bob revoked"],
        ),
        (
            Change(
                *BOB,
                "changed",
                (
                    Detail("maxConcurrency", "1", "2"),
                    Detail("token New", words="added"),
                    Detail("token Old expires", "never", "2026-12-01"),
                ),
            ),
            [
                "Client bob changed: maxConcurrency",
                "Token New of client bob added",
                "Token Old of client bob expires 2026-12-01 instead of never",
            ],
        ),
        (
            Change(
                *BOB, "changed", (Detail("token A", words="revoked"), Detail("token A expires", "1", "2"))
            ),
            ["Token A of client bob revoked"],
        ),
    ],
)
def test_a_change_says_what_happened(change: Change, said: list[str]) -> None:
    assert happenings([change]) == said


def test_of_several_the_first_is_told_and_the_others_are_counted() -> None:
    assert in_short(["Client bob added"]) == "Client bob added"
    assert in_short(["Client bob added", "Client eve added"]) == "Client bob added; and 1 more"
    assert in_short(["Client bob added"], more=3) == "Client bob added; and 3 more"
