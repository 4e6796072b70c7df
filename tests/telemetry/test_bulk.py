"""Rows that are written past the ORM's fields are those that it would have written, cell by cell."""

import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from calls import NOW, call
from django.db import DatabaseError, connection, transaction
from django.forms import model_to_dict

from telemetry.bulk import insert, read, upsert
from telemetry.models import MethodUse, RequestLog

pytestmark = pytest.mark.django_db(transaction=True)

ODD = {
    "model": "größer 🙂 'quoted' \"twice\" %s \\ ?",
    "reason": "\\N",
    "claimed_tool": "\\.\ttab\r\nline \\x41 \b\v",
    "attempts": [{"provider": "gpu", "durationMs": 1.5, "note": "é\u2028%s"}, {"retried": True, "key": None}],
    "decision": {"rule": "rank", "deep": {"list": [1, [2, [3]]], "empty": {}}},
    "sanitised": {"think": 2},
    "first_event_ms": None,
    "input_tokens": 2**63 - 1,
    "duration_ms": 2**31 - 1,
    "started_at": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone(timedelta(hours=5, minutes=30))),
}
JSON = ("attempts", "decision", "sanitised")
FITS = [{}, ODD, {"first_event_ms": 0, "started_at": datetime(1970, 1, 1, tzinfo=UTC)}]


def cells() -> list[dict[str, Any]]:
    """As they lie in the table, without the primary key; JSON as its text."""
    names = [field.column for field in RequestLog._meta.concrete_fields if not field.primary_key]
    told = [f'CAST("{name}" AS TEXT)' if name in JSON else f'"{name}"' for name in names]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(told)} FROM telemetry_requestlog ORDER BY call_id")
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def types(rows: list[dict[str, Any]]) -> list[dict[str, type]]:
    return [{name: type(value) for name, value in row.items()} for row in rows]


def test_rows_are_stored_as_the_orm_stores_them() -> None:
    def rows() -> list[RequestLog]:
        return [
            call(n, **facts, chain="f" * 16, sequence=n + 1, hash="a" * 64) for n, facts in enumerate(FITS)
        ]

    RequestLog.objects.bulk_create(rows())
    by_orm = cells()
    RequestLog.objects.all().delete()
    insert(RequestLog, rows())
    assert cells() == by_orm
    assert types(cells()) == types(by_orm)
    assert len(by_orm) == len(FITS)


def test_what_is_read_again_is_what_was_written() -> None:
    written = call(0, **ODD)
    insert(RequestLog, [written])
    read = RequestLog.objects.get()
    assert read.pk
    assert model_to_dict(read, exclude=["id"]) == model_to_dict(written, exclude=["id"])


def test_json_lies_there_as_it_is_hashed() -> None:
    """So that a verification need not look into it."""
    insert(RequestLog, [call(0, decision={"rule": "rank", "deep": {"b": [{"y": 1, "x": 2}], "a": "é"}})])
    with connection.cursor() as cursor:
        cursor.execute("SELECT CAST(decision AS TEXT) FROM telemetry_requestlog")
        assert cursor.fetchall() == [('{"deep":{"a":"é","b":[{"x":2,"y":1}]},"rule":"rank"}',)]


@pytest.mark.parametrize("call_id", [uuid.UUID(int=7), str(uuid.UUID(int=7)), uuid.UUID(int=7).hex])
def test_an_id_may_be_told_as_text(call_id: Any) -> None:
    insert(RequestLog, [call(call_id=call_id)])
    assert RequestLog.objects.get().call_id == uuid.UUID(int=7)


@pytest.mark.parametrize(
    ("facts", "error"),
    [
        ({"call_id": "no id"}, ValueError),
        ({"call_id": None}, (DatabaseError, TypeError)),
        ({"status": -1}, DatabaseError),
        ({"input_tokens": 2**63}, (OverflowError, DatabaseError)),
        ({"tool_id": None}, DatabaseError),
        ({"decision": {"at": object()}}, TypeError),
        ({"call_id": uuid.UUID(int=10**9)}, DatabaseError),
    ],
)
def test_what_does_not_fit_is_refused_and_none_of_the_rows_is_stored(
    facts: dict[str, Any], error: Any
) -> None:
    with pytest.raises(error), transaction.atomic():
        insert(RequestLog, [call(0), call(1, **facts)])
    assert not RequestLog.objects.exists()


def test_rows_with_known_keys_take_the_place_of_the_others() -> None:
    def put(*rows: tuple[str, str, datetime]) -> None:
        upsert(MethodUse, ("tool_id", "method"), ("last_at",), rows)

    put(("bob", "chat", NOW), ("bob", "embed", NOW))
    later = NOW + timedelta(seconds=1)
    put(("bob", "chat", later), ("eve", "chat", NOW))
    found = MethodUse.objects.order_by("tool_id", "method").values_list("tool_id", "method", "last_at")
    assert list(found) == [("bob", "chat", later), ("bob", "embed", NOW), ("eve", "chat", NOW)]


def test_nothing_is_asked_for_no_rows(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        insert(RequestLog, [])
        upsert(MethodUse, ("tool_id", "method"), ("last_at",), [])


def test_many_rows_are_one_statement(django_assert_num_queries: Any) -> None:
    counted = 0 if connection.vendor == "postgresql" else 1  # Django counts no COPY
    with django_assert_num_queries(counted):
        insert(RequestLog, [call(n) for n in range(300)])
    assert RequestLog.objects.count() == 300


def test_what_is_read_is_what_the_orm_reads(django_assert_num_queries: Any) -> None:
    insert(RequestLog, [call(n, **facts) for n, facts in enumerate(FITS)])
    names = [field.name for field in RequestLog._meta.fields if field.name != "call_id"]
    found = RequestLog.objects.filter(tool_id="bob").order_by("pk")
    with django_assert_num_queries(1):
        rows = list(read(found, names))
    assert rows == list(found.values_list(*names))
    assert len(rows) == len(FITS)
    assert {row[names.index("started_at")].tzinfo for row in rows} == {UTC}
    assert list(read(RequestLog.objects.filter(tool_id="nobody"), names)) == []
