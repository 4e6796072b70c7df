"""One after the other: whoever locks rows in order to change them takes a turn first. Whoever knows all that changes
the configuration says how to wait for it."""

from collections.abc import Callable


def _alone() -> None:
    """Nobody said that there are others."""


_take: Callable[[], None] = _alone


def turns_by(take: Callable[[], None]) -> None:
    """Called once at start."""
    global _take
    _take = take


def take_turn() -> None:
    """In the transaction of the change and before its first row is locked: the other way round, two who change
    something can each wait for the other."""
    _take()
