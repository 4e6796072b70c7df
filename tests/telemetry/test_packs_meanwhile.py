"""A pack that is made while rows are removed for their age verifies, wherever in it that happens."""

import zipfile
import zlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone
from packs import told_of
from recorded import audit, call, outcome, writer

from telemetry.audit import pack, reader
from telemetry.audit.pack import EvidencePack
from telemetry.audit.pruning import prune
from telemetry.audit.selection import Selection
from telemetry.journal import Journal
from telemetry.models import AuditCheckpoint, AuditTombstone, RequestLog, RetentionRule

pytestmark = pytest.mark.django_db(transaction=True)
DAY = 86_400


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Sixty calls of Bob and Charlie in turn, signed in tens; 36 of them are older than their rule allows."""
    now, folder = timezone.now().timestamp(), tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, 61):
        began = now - (40 if n <= 36 else 5) * DAY + n
        journal.outcome(outcome(call(n), tool_id="bob" if n % 2 else "charlie", started_at=began))
        if n % 10 == 0:
            moving.run_once()
    journal.close()
    RetentionRule.objects.create(days=30)
    return folder


def selections() -> dict[str, Selection]:
    now = timezone.now()
    return {
        "whole": Selection(),
        "client": Selection(tool_id="bob"),
        "call": Selection(call_id=call(3)),
        "period": Selection(since=now - timedelta(days=50), until=now - timedelta(days=40, seconds=-20)),
        "open period": Selection(until=now - timedelta(days=4)),
    }


class Eager:
    """Packs whatever it is given at once."""

    def __init__(self) -> None:
        self._packing = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self.flush = self._packing.flush

    def compress(self, data: bytes) -> bytes:
        return self._packing.compress(data) + self._packing.flush(zlib.Z_SYNC_FLUSH)


@pytest.mark.parametrize("name", list(selections()))
def test_it_verifies_wherever_that_happens(
    recorded: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pack, "CHUNK_BYTES", 1)
    monkeypatch.setattr(zipfile, "_get_compressor", lambda *_, **__: Eager())  # or most of it leaves at once
    monkeypatch.setattr("telemetry.audit.exports.CHUNK_BYTES", 1)
    monkeypatch.setattr(reader, "AT_ONCE", 7)
    before = [list(model.objects.all()) for model in (RequestLog, AuditCheckpoint)]
    at, is_over = 0, False
    while not is_over:
        chunks = EvidencePack(selections()[name], audit(recorded).public_keys()).stream()
        begun, is_over = _some(chunks, at)
        assert prune(audit(recorded).signer(), timezone.now(), by="schedule") == 36
        path = recorded.parent / "pack.zip"
        path.write_bytes(begun + b"".join(chunks))
        code, told = told_of(recorded, path, capsys)
        assert code == 0, f"after {at} parts:\n{told}"
        _as_before(before)
        at += 3
    assert at > 15


def _some(chunks: Iterator[bytes], count: int) -> tuple[bytes, bool]:
    parts = [part for _, part in zip(range(count), chunks, strict=False)]
    return b"".join(parts), len(parts) < count


def _as_before(before: list[list[object]]) -> None:
    AuditTombstone.objects.all().delete()
    for model, rows in zip((RequestLog, AuditCheckpoint), before, strict=True):
        model.objects.all().delete()
        model.objects.bulk_create(rows)
