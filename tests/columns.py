"""What the columns of the two databases say."""

from django.db import connection


def too_large() -> str:
    """PostgreSQL's column has the limit itself, so that Django's field speaks before the rules of the file do."""
    if connection.vendor == "postgresql":
        return "Ensure this value is less than or equal to 2147483647."
    return "At most 2,147,483,647."
