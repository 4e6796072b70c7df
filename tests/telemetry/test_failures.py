"""Failed authentication: whatever is thrown at the gateway, few rows, and not one call too few or too many."""

import random
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db.models import Sum
from recorded import call, segments, serve, writer

from telemetry import beside
from telemetry.failures import COUNTS_A_LINE, MAX_ADDRESSES, OTHERS, FailureCounts, FailureTally
from telemetry.journal import Journal, JournalError
from telemetry.models import FailedAuthentication as Row
from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db(transaction=True)
MINUTE = 1_700_000_040


def note(failed: FailureTally, n: int, address: str = "10.0.0.1", kind: str = "unknown") -> None:
    for _ in range(n):
        failed.note(address=address, kind=kind, route="/mcp/chat", now=MINUTE + 5.0)


def rows() -> dict[tuple[str, str], int]:
    return {(row.address, row.kind): row.count for row in Row.objects.all()}


def total() -> int:
    return Row.objects.aggregate(total=Sum("count"))["total"] or 0


def test_ten_thousand_failures_from_a_thousand_addresses_are_few_rows_with_the_exact_count(
    tmp_path: Path,
) -> None:
    draw, failed, journal, moving = (
        random.Random(4),
        FailureTally(),
        Journal(tmp_path),
        writer(tmp_path),
    )
    addresses = [f"10.0.{n // 250}.{n % 250}" for n in range(1_000)]
    sent = Counter(addresses)
    for address in addresses + draw.choices(addresses, k=9_000):
        sent[address] += 1
    everyone = [address for address in addresses for _ in range(sent[address] - 1)]
    draw.shuffle(everyone)
    for n, address in enumerate(everyone):
        kind = draw.choice(["missing", "unknown"])
        failed.note(address=address, kind=kind, route="/mcp/chat", now=MINUTE + n * 0.005)
        if n % 700 == 0:
            failed.flush(journal.failed_authentication)
            moving.run_once()
    failed.flush(journal.failed_authentication)
    journal.close()
    moving.run_once()
    named = Row.objects.exclude(address=OTHERS)
    print(f"10,000 failures from 1,000 addresses: {Row.objects.count()} rows, {total():,} calls counted")
    assert total() == 10_000
    assert named.values("address").distinct().count() == MAX_ADDRESSES
    assert Row.objects.count() <= (MAX_ADDRESSES + 1) * 2
    for address in named.values_list("address", flat=True).distinct():
        assert named.filter(address=address).aggregate(n=Sum("count"))["n"] == everyone.count(address)


def test_a_row_is_one_address_minute_and_kind_with_its_first_and_last_moment(tmp_path: Path) -> None:
    failed, journal = FailureTally(), Journal(tmp_path)
    for at, route in ((5.0, "/mcp/chat"), (59.5, "/mcp/chat"), (61.0, "/mcp/embed"), (62.0, "/health")):
        failed.note(address="::1", kind="missing", route=route, now=MINUTE + at)
    failed.flush(journal.failed_authentication)
    journal.close()
    writer(tmp_path).run_once()
    began = datetime.fromtimestamp(MINUTE, UTC)
    told = list(
        Row.objects.order_by("started_at").values_list(
            "started_at", "count", "route", "first_seen", "last_seen"
        )
    )
    assert told == [
        (began, 2, "/mcp/chat", began + timedelta(seconds=5), began + timedelta(seconds=59.5)),
        (began + timedelta(seconds=60), 2, "several", began + timedelta(seconds=61), began + timedelta(seconds=62)),
    ]  # fmt: skip


def test_lines_that_are_read_twice_count_once(tmp_path: Path) -> None:
    failed, journal = FailureTally(), Journal(tmp_path)
    for _ in range(3):
        note(failed, 2)
        failed.flush(journal.failed_authentication)
        serve(journal, 1)
        writer(tmp_path).run_once()
    (path,) = segments(tmp_path)
    (tmp_path / "000000000000001-1-000001.spool").write_bytes(path.read_bytes())
    journal.close()
    writer(tmp_path).run_once()
    assert rows() == {("10.0.0.1", "unknown"): 6}
    assert RequestLog.objects.get().call_id.hex == call(1).replace("-", "")


def test_counts_of_several_processes_are_added(tmp_path: Path) -> None:
    for n in (1, 2, 3):
        failed, journal = FailureTally(), Journal(tmp_path / str(n))
        note(failed, n)
        note(failed, 1, kind="expired")
        failed.flush(journal.failed_authentication)
        journal.close()
        writer(tmp_path / str(n)).run_once()
    assert rows() == {("10.0.0.1", "unknown"): 6, ("10.0.0.1", "expired"): 3}


def test_what_the_journal_did_not_take_is_told_the_next_time(tmp_path: Path) -> None:
    failed, journal = FailureTally(), Journal(tmp_path)
    for n in range(COUNTS_A_LINE + 9):
        note(failed, 1, address=f"10.0.0.{n}")

    def full(counts: FailureCounts) -> None:
        raise JournalError("no space")

    with pytest.raises(JournalError):
        failed.flush(full)
    note(failed, 1, address="10.0.0.3")
    failed.flush(journal.failed_authentication)
    failed.flush(full)  # nothing is left to write
    journal.close()
    writer(tmp_path).run_once()
    assert total() == COUNTS_A_LINE + 10


def test_a_clock_that_is_set_back_loses_no_count(tmp_path: Path) -> None:
    failed, journal = FailureTally(), Journal(tmp_path)
    for at in (0, 60, 5, 61):
        failed.note(address="::1", kind="missing", route="/health", now=MINUTE + at)
        failed.flush(journal.failed_authentication)
    journal.close()
    writer(tmp_path).run_once()
    assert total() == 4


def test_a_clock_that_was_wrong_for_a_moment_is_followed_back(tmp_path: Path) -> None:
    """The minutes that come again are counted again, and added to what was stored of them."""
    failed, journal, moving = FailureTally(), Journal(tmp_path), writer(tmp_path)
    for day, at in ((0, 0), (0, 60), (400, 0), (0, 61), (0, 0), (0, 400), (0, 401)):
        failed.note(address="::1", kind="missing", route="/health", now=MINUTE + day * 86_400 + at)
        failed.flush(journal.failed_authentication)
        moving.run_once()
    journal.close()
    moving.run_once()
    began = datetime.fromtimestamp(MINUTE, UTC)
    told = {(row.started_at - began).total_seconds(): row.count for row in Row.objects.all()}
    assert told == {0: 1, 60: 3, 360: 2, 400 * 86_400: 1}


def test_counts_of_before_the_clock_was_set_back_are_told_as_they_were(tmp_path: Path) -> None:
    failed, journal = FailureTally(), Journal(tmp_path)
    for at in (600, 600, 0, 0, 0):
        failed.note(address="::1", kind="missing", route="/health", now=MINUTE + at)
    failed.flush(journal.failed_authentication)
    journal.close()
    writer(tmp_path).run_once()
    assert sorted(row.count for row in Row.objects.all()) == [2, 3]


def test_rows_past_their_days_are_removed() -> None:
    now = datetime(2026, 3, 4, tzinfo=UTC)
    for days in (1, 89, 91, 400):
        at = now - timedelta(days=days)
        Row.objects.create(started_at=at, address="a", kind="missing", first_seen=at, last_seen=at)
    beside.prune(now, failed_authentication_days=90)
    assert [(now - row.started_at).days for row in Row.objects.all()] == [1, 89]
