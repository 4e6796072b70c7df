"""JSON of the record lies in the database as it is hashed, also in one that was there before it did."""

from pathlib import Path
from typing import Any

import pytest
from calls import call, store
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from msgspec import Raw
from recorded import call as id_of
from recorded import intent, outcome, writer
from signed import change, found, recorded, row, verified

from telemetry.journal import Journal
from telemetry.models import RequestLog

__all__ = ("recorded",)
BEFORE, AFTER = ([("telemetry", name)] for name in ("0010_remove_callrollup_refused", "0011_json_as_hashed"))
TEXTS = ("text", "5", "", "null", '{"a":1}', "\0 \ud7ff é \x1f", 'a "quoted" \\ \\u0000')


def text_of(column: str, sequence: int | None = None) -> str:
    where = "" if sequence is None else f" WHERE sequence = {sequence}"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT CAST({column} AS TEXT) FROM telemetry_requestlog{where}")
        ((text,),) = cursor.fetchall()
    return str(text)


@pytest.mark.django_db
@pytest.mark.parametrize(
    "value", [*TEXTS, *([text] for text in TEXTS), {"b": {"d": 1, "c": [None]}, "a": True}, 7, []]
)
def test_what_is_read_is_what_was_written(value: Any) -> None:
    """Text that looks like JSON too: it is read once."""
    store(call(decision=value))
    stored = RequestLog.objects.get()
    assert stored.decision == value
    assert RequestLog.objects.values_list("decision", flat=True).get() == value
    RequestLog.objects.update(decision={}, sanitised=value)
    stored.refresh_from_db()
    assert (stored.decision, stored.sanitised) == ({}, value)


@pytest.mark.django_db
def test_the_orm_writes_it_in_the_form_in_which_it_is_hashed() -> None:
    store(call(decision={"b": [{"y": 1, "x": 2}], "a": "é"}))
    assert text_of("decision") == '{"a":"é","b":[{"x":2,"y":1}]}'


@pytest.mark.django_db(transaction=True)
def test_rows_from_before_verify_beside_later_ones(recorded: Path) -> None:
    """And what is changed in one of either is found."""
    journal = Journal(recorded)

    def serve(*numbers: int) -> None:
        for n in numbers:
            journal.intent(intent(id_of(n)))
            journal.outcome(outcome(id_of(n), attempts=(Raw(b'{"provider":"lm","durationMs":412}'),)))
        assert writer(recorded).run_once() == len(numbers)

    serve(*range(31, 37))
    kept = text_of("attempts", 33)
    MigrationExecutor(connection).migrate(BEFORE)
    as_before = text_of("attempts", 33)
    assert (as_before == kept) == (connection.vendor == "sqlite"), "jsonb has spaces"
    MigrationExecutor(connection).migrate(AFTER)
    assert text_of("attempts", 33) == as_before, "no row is written anew"
    serve(*range(37, 43))
    journal.close()
    assert (verified(recorded).rows, found(recorded)) == (42, set())
    for at in (33, 39):
        change(at, attempts=[*row(at).attempts, {"provider": "another"}])
    assert found(recorded) == {("changed", 33), ("changed", 39)}
