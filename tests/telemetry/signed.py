"""A record of thirty calls, signed in five batches of six, and what a verification of it finds."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from recorded import audit, serve, writer

from telemetry.audit.keys import signatures
from telemetry.audit.verification import Verified, verify
from telemetry.audit.verifier import Run
from telemetry.journal import Journal
from telemetry.models import RequestLog

BATCHES, ROWS_A_BATCH = 5, 6


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Thirty calls of Bob, signed in five batches of six."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for batch in range(BATCHES):
        serve(journal, *range(batch * ROWS_A_BATCH + 1, (batch + 1) * ROWS_A_BATCH + 1))
        assert moving.run_once() == ROWS_A_BATCH
    journal.close()
    return folder


def verified(folder: Path) -> Verified:
    place = audit(folder)
    return verify(signatures(place.public_keys()), place.copies, own=place.chain_name())


def found(folder: Path) -> set[tuple[str, int]]:
    return {(finding.kind, finding.sequence) for finding in verified(folder).findings}


def claims(runs: Iterable[Run]) -> list[tuple[int, str]]:
    """Number and hash of each row."""
    return [claim for run in runs for claim in enumerate(run.claimed, run.first)]


def row(sequence: int) -> RequestLog:
    return RequestLog.objects.get(sequence=sequence)


def change(at: int, /, **facts: object) -> None:
    assert RequestLog.objects.filter(sequence=at).update(**facts) == 1


def checkpoints_file(folder: Path) -> Path:
    return audit(folder).copies.path
