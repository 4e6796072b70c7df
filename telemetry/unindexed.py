"""Conditions of a search of the record that are looked at row by row, because no index knows them or another is followed."""

from typing import Any

from django.db.models import BooleanField, F, Func, Q, Value
from django.db.models.lookups import In

from telemetry.criteria import Detail, Term


class Beside(Func):
    """A column that no index is used for, so that the one which was chosen is."""

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **more)

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        number = self.source_expressions[0].output_field.get_internal_type().endswith("IntegerField")  # type: ignore[attr-defined]
        nothing = "+ 0" if number else "|| ''"
        return self.as_sql(compiler, connection, template=f"(%(expressions)s {nothing})", **more)


class Asked(Func):
    """Whether attempts name a provider. What somebody changed into no JSON names nobody."""

    output_field = BooleanField()

    def as_sqlite(self, compiler: Any, connection: Any, **more: Any) -> Any:
        found = "SELECT 1 FROM json_tree({0}) AS part WHERE part.key = 'provider' AND part.atom = {1}"
        return self._sql("CASE WHEN json_valid({0}) THEN EXISTS (" + found + ") ELSE 0 END", compiler)

    def as_postgresql(self, compiler: Any, connection: Any, **more: Any) -> Any:
        # An escape that no text of PostgreSQL's can hold (NUL, half a pair) would stop it. First those that say the name:
        # looking for a text is a fraction of reading JSON.
        readable = r"regexp_replace({0}::text, '\\u(0000|[dD][89a-fA-F][0-9a-fA-F][0-9a-fA-F])', '\\u0020', 'g')::json"
        found = "SELECT 1 FROM json_array_elements(" + readable + ") AS part WHERE part ->> 'provider' = {1}"  # noqa: S608 - our text
        is_named = "strpos({0}::text, {1}) > 0 AND json_typeof({0}) = 'array'"
        return self._sql("CASE WHEN " + is_named + " THEN EXISTS (" + found + ") ELSE false END", compiler)

    def _sql(self, template: str, compiler: Any) -> Any:
        attempts, name = self.source_expressions
        column, _ = compiler.compile(attempts)
        held, given = compiler.compile(name)
        return template.format(column, held), given * template.count("{1}")


def is_beside(term: Term) -> Q:
    """Of a term that is looked at in the rows of another's index."""
    return Q(In(Beside(F(term.column)), term.values))


def is_in(detail: Detail) -> Q:
    if detail.name == "asked":
        return Q(Asked(F("attempts"), Value(detail.value)))
    return Q(**{detail.name if detail.name == "strategy" else f"{detail.name}__icontains": detail.value})
