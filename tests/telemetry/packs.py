"""Packs as Olga gets them, and what a forger makes of them: hashes and counts of the manifest are done again too."""

import base64
import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from recorded import audit, call, outcome, writer

from telemetry.audit.pack import EvidencePack
from telemetry.audit.selection import Selection
from telemetry.audit.verifier import Pack, encoded, main, verify
from telemetry.journal import Journal

Rows = list[dict[str, Any]]


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """Thirty calls signed in batches of six; of each batch the second, the fifth and the last are Charlie's."""
    folder = tmp_path / "journal"
    journal, moving = Journal(folder), writer(folder)
    for n in range(1, 31):
        journal.outcome(outcome(call(n), tool_id="charlie" if n % 3 == 2 or n % 6 == 0 else "bob"))
        if n % 6 == 0:
            moving.run_once()
    journal.close()
    moving.run_once()
    return folder


def packed(folder: Path, selection: Selection) -> Path:
    path = folder.parent / "pack.zip"
    path.write_bytes(b"".join(EvidencePack(selection, audit(folder).public_keys()).stream()))
    return path


def unpacked(folder: Path, selection: Selection) -> Path:
    made, path = folder.parent / "pack", packed(folder, selection)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(made)
    return made


def rows_of(pack: Path) -> Rows:
    return [json.loads(line) for line in (pack / "rows.jsonl").read_text().splitlines()]


def seal_anew(pack: Path, rows: Rows, **told: Any) -> None:
    data = b"".join(encoded(row) + b"\n" for row in rows)
    seal_lines(pack, data, rows=sum("bodyHash" not in row for row in rows), **told)


def seal_lines(pack: Path, data: bytes, **told: Any) -> None:
    (pack / "rows.jsonl").write_bytes(data)
    manifest = json.loads((pack / "manifest.json").read_text()) | told
    manifest["files"]["rows.jsonl"] = hashlib.sha256(data).hexdigest()
    (pack / "manifest.json").write_text(json.dumps(manifest))


def told_of(folder: Path, pack: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """As the command tells it: exit code, and all that is printed."""
    key = folder.parent / "mine.pub"
    key.write_text(base64.b64encode(audit(folder).public_keys()[0]).decode())
    code = main([str(pack), "--public-key", str(key)])
    return code, "".join(capsys.readouterr())


def findings(folder: Path, pack: Path) -> set[tuple[str, int]]:
    found = verify(Pack(pack), audit(folder).public_keys()).findings.kept
    return {(finding.kind, finding.sequence) for finding in found}
