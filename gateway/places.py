"""Where a gateway keeps what it writes, by its settings: journal, and what protects the record."""

from pathlib import Path

from django.conf import settings

from telemetry.audit.places import AuditFolder


def journal_folder() -> Path:
    return Path(settings.STATE_DIR) / "journal"


def audit_folder() -> AuditFolder:
    read = settings.ENVIRONMENT.file
    return AuditFolder(
        Path(settings.STATE_DIR) / "audit",
        key=read("LLM_CALLER_AUDIT_KEY_PATH"),
        checkpoints=read("LLM_CALLER_AUDIT_CHECKPOINTS_PATH"),
    )
