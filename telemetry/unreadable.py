"""What reading raises where somebody has put into a column what it cannot hold, and how that is told from a database
that does not answer: the one will not change by itself and keeps nothing from going on, the other is waited out."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, DataError, OperationalError

UNREADABLE = (DatabaseError, ValueError, TypeError, AttributeError, OverflowError, RecursionError)
TAKEN_FOR_GRANTED = (LookupError, AssertionError)
"""What code raises that knows what the product stores, of rows that it did not."""


class UnreadableCell(Exception):
    """Something in the database is not what its column holds; in words."""


@contextmanager
def cells() -> Iterator[None]:
    """Raises `UnreadableCell` for what comes of a cell, and what a database raises that does not answer as it is."""
    try:
        yield
    except (*UNREADABLE, *TAKEN_FOR_GRANTED) as error:
        if not is_cell(error):
            raise
        words = f"something in the database cannot be read ({type(error).__name__})"
        raise UnreadableCell(words) from None


def is_cell(error: BaseException) -> bool:
    """Whether such an error is about what was read, and not about the database that was asked."""
    if not isinstance(error, DatabaseError):
        return True
    if isinstance(error, OperationalError):
        # The driver itself refuses a text that is none. What SQLite says, such as that it is locked, has a code.
        cause = error.__cause__
        return isinstance(cause, sqlite3.OperationalError) and not hasattr(cause, "sqlite_errorcode")
    return isinstance(error, DataError)
