"""One at a time signs tombstones: for whoever verifies meanwhile, none may come into sight before one with a lower key."""

from django.db import connection

_TOMBSTONES = 0x6C6C6D63746F6D62
"""The name of PostgreSQL's advisory lock. SQLite's transactions queue by themselves."""


def alone() -> None:
    """Waits for whoever else is at it; held until the transaction is over, nothing outside of one. A key is taken when
    a tombstone is made, and seen when its transaction is committed."""
    if connection.in_atomic_block and connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [_TOMBSTONES])
