"""What reading raises where somebody has put into a column what it cannot hold, and how that is told from a database
that does not answer: the one will not change by itself and keeps nothing from going on, the other is waited out."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from django.db import DatabaseError, DataError, InterfaceError, OperationalError

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


def is_lasting(error: BaseException) -> bool:
    """Whether it will be the same at the next attempt: a cell, a table or a database that is damaged or not there, and
    not a database that is locked or does not answer."""
    if isinstance(error, OperationalError) and not is_cell(error):
        # Its code for a statement that no longer fits the tables. PostgreSQL has another class for that.
        return getattr(error.__cause__, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return not isinstance(error, InterfaceError)
