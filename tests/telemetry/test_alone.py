"""Who signs tombstones waits for whoever else does, so that their keys come into sight in order."""

import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.db import connection, transaction
from recorded import audit
from signed import recorded

from telemetry.audit.alone import alone
from telemetry.audit.keys import signatures
from telemetry.audit.restored import declare_restored
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog

__all__ = ("recorded",)
pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite has one writer"),
]
WITHIN_S = 10


def test_a_note_waits_for_a_removal_that_is_not_committed(recorded: Path) -> None:
    AuditCheckpoint.objects.filter(number__gt=3).delete()
    RequestLog.objects.filter(sequence__gt=18).delete()
    place = audit(recorded)

    def declare() -> None:
        keys = signatures(place.public_keys())
        try:
            declare_restored(
                place.signer(), keys, place.copies, reason="a disk", by="ada", now=datetime.now(UTC)
            )
        finally:
            connection.close()

    other = threading.Thread(target=declare)
    with transaction.atomic():
        alone()
        AuditTombstone.objects.create(
            chain="a", first=1, last=1, rows=1, signed_at=datetime.now(UTC), line="{}"
        )
        other.start()
        until = time.monotonic() + WITHIN_S
        while not somebody_waits():
            assert other.is_alive(), "it did not wait"
            assert time.monotonic() < until
            time.sleep(0.02)
    other.join(WITHIN_S)
    before, note = AuditTombstone.objects.order_by("pk").values_list("chain", flat=True)
    assert before == "a"
    assert note != "a"


def test_outside_of_a_transaction_it_holds_nothing(db: None) -> None:
    alone()
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")
        assert cursor.fetchone()[0] == 0


def somebody_waits() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
        return bool(cursor.fetchone()[0])
