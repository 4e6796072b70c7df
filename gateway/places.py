"""Where a gateway keeps what it writes, by its settings: journal, log file, and what protects the record."""

from pathlib import Path

from django.conf import settings

from gateway.environment import SettingsError
from telemetry.audit.places import AuditFolder
from telemetry.log_file import RotatingFile


def journal_folder() -> Path:
    return Path(settings.STATE_DIR) / "journal"


def audit_folder() -> AuditFolder:
    read = settings.ENVIRONMENT.file
    return AuditFolder(
        Path(settings.STATE_DIR) / "audit",
        key=read("LLM_CALLER_AUDIT_KEY_PATH"),
        checkpoints=read("LLM_CALLER_AUDIT_CHECKPOINTS_PATH"),
    )


def log_file() -> RotatingFile | None:
    """None when none is set. Raises `SettingsError` when it cannot be written."""
    env = settings.ENVIRONMENT
    path = env["LLM_CALLER_LOG_FILE"]
    if not path:
        return None
    file = RotatingFile(
        Path(path), max_bytes=env["LLM_CALLER_LOG_MAX_BYTES"], max_files=env["LLM_CALLER_LOG_MAX_FILES"]
    )
    try:
        file.require_writable()
    except OSError as error:
        raise SettingsError(f"LLM_CALLER_LOG_FILE: {path} cannot be written ({error.strerror})") from None
    return file
