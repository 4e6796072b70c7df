"""A column of the record that Django does not have."""

from typing import Any

from django.db.models import JSONField

from telemetry.audit.canonical import canonical


class KeptJSON(JSONField):
    """JSON that every database keeps in the form in which it is hashed.

    PostgreSQL would make another of it (`jsonb`), and a verification would have to have each told, read, sorted and
    written again: a quarter of what a row cost. In exchange its `json` knows no `=`, so no DISTINCT either.
    """

    def db_type(self, connection: Any) -> str | None:
        return "json" if connection.vendor == "postgresql" else super().db_type(connection)

    def select_format(self, compiler: Any, sql: str, params: Any) -> tuple[str, Any]:
        """As text, which `from_db_value` reads: of `json`, psycopg would give what it says."""
        if compiler.connection.vendor == "postgresql":
            sql = f"({sql})::text"
        return super().select_format(compiler, sql, params)  # type: ignore[no-any-return]

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:
        if not prepared:
            value = self.get_prep_value(value)
        return canonical(value).decode()
