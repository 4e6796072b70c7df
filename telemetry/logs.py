"""JSON log lines: written by a thread of their own, redacted at any depth, rotated by size.

    log.info("chat request completed", request_id=…, trace_id=…, metadata={…})

The queue is bounded. When it overflows, lines are dropped, counted and reported; a call never waits.
"""

import logging
import queue
import re
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from telemetry.health import timestamp
from telemetry.log_file import Notice, RotatingFile, Standing
from telemetry.metrics import METRICS
from telemetry.whole_lines import WholeLines

Level = Literal["error", "warn", "info", "debug"]
LEVELS: dict[str, int] = {"error": 0, "warn": 1, "info": 2, "debug": 3}
REDACTED = "[redacted]"
QUEUE_LINES = 20_000
_BATCH = 500
GATHER_S = 0.02
"""Lines of so long are written together: a thread that woke for each would take the interpreter from the event
loop several times a call, which cost a tenth of the calls per second (measured)."""
_PAYLOAD_KEY = re.compile(r"prompt|content|payload|body|transcript|delta", re.IGNORECASE)
_PAYLOAD_EXACT = frozenset({"messages", "completion", "rawError", "rawResponse"})
_CREDENTIAL_KEY = re.compile(
    r"authorization|api[-_]?key|password|passwd|secret|cookie|credential|pepper|private[-_]?key|session[-_]?id"
    r"|^(client|access|refresh|bearer|id|x-llm-caller-)?[-_]?token$",
    re.IGNORECASE,
)
_MAX_DEPTH = 32
# JSON may carry DEL, the C1 controls and the Unicode line ends as they are; a terminal that shows the log
# acts on some, and readers that split it into lines split at others.
_RAW_CONTROL = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8\xa9]")


class Redactor:
    """Replaces the values of sensitive keys. `payloads=False` lifts it for payloads, never for credentials."""

    def __init__(self, *, payloads: bool = True) -> None:
        self._payloads = payloads
        self._decided: dict[str, bool] = {}

    def apply(self, value: Any, found: set[str], depth: int = 0) -> Any:
        """A copy without sensitive values; the keys that were hit are added to `found`."""
        if isinstance(value, dict):
            if depth > _MAX_DEPTH:
                return REDACTED
            return {str(key): self._entry(str(key), item, found, depth) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return REDACTED if depth > _MAX_DEPTH else [self.apply(item, found, depth + 1) for item in value]
        if isinstance(value, str):
            return str.__str__(value)  # the encoder takes no subclasses, such as Django's safe strings
        if value is None or isinstance(value, bool | int | float):
            return value
        return f"<{type(value).__name__}>"

    def _entry(self, key: str, item: Any, found: set[str], depth: int) -> Any:
        sensitive = self._decided.get(key)
        if sensitive is None:
            sensitive = self._is_sensitive(key)
            if len(self._decided) < 4096:
                self._decided[key] = sensitive
        if sensitive:
            found.add(key)
            return REDACTED
        return self.apply(item, found, depth + 1)

    def _is_sensitive(self, key: str) -> bool:
        if _CREDENTIAL_KEY.search(key):
            return True
        return self._payloads and (key in _PAYLOAD_EXACT or _PAYLOAD_KEY.search(key) is not None)


class JsonLog:
    """One per process; see `configure`. Usable before it is started: lines wait in the queue."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Any, ...] | None] = queue.SimpleQueue()
        self._level = LEVELS["info"]
        self._redactor = Redactor()
        self._file: RotatingFile | None = None
        self._thread: threading.Thread | None = None
        self._dropped = 0
        self._drops = threading.Lock()
        self._stdout_fd = -1
        self._stdout = WholeLines()
        self._file_failed = False

    def start(
        self, *, level: str = "info", redactor: Redactor | None = None, file: RotatingFile | None = None
    ) -> None:
        """Takes over stdout: from now on nothing but JSON lines is written there by this process."""
        self._level = LEVELS[level]
        self._redactor = redactor or Redactor()
        self._file = file
        self._stdout_fd = sys.stdout.fileno()
        self._thread = threading.Thread(target=self._run, name="json-log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Writes what is queued and ends the thread."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(timeout=5)
            self._thread = None

    def standing(self) -> Standing | None:
        """Of the log file; None without one, or when it cannot be looked at."""
        try:
            return self._file.standing() if self._file is not None else None
        except OSError:
            return None

    def error(self, message: str, **parts: Any) -> None:
        self.write("error", message, **parts)

    def warn(self, message: str, **parts: Any) -> None:
        self.write("warn", message, **parts)

    def info(self, message: str, **parts: Any) -> None:
        self.write("info", message, **parts)

    def debug(self, message: str, **parts: Any) -> None:
        self.write("debug", message, **parts)

    def write(
        self,
        level: Level,
        message: str,
        *,
        request_id: str | None = None,
        trace_id: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        if LEVELS[level] > self._level:
            return
        if self._queue.qsize() >= QUEUE_LINES:
            with self._drops:
                self._dropped += 1
                METRICS.count("log_lines_dropped")
            return
        self._queue.put((time.time(), level, message, request_id, trace_id, metadata))

    def _run(self) -> None:
        running = True
        while running:
            batch: list[tuple[Any, ...]] = []
            item = self._queue.get()
            if item is not None:
                time.sleep(GATHER_S)
            while item is not None:
                batch.append(item)
                if len(batch) >= _BATCH or self._queue.empty():
                    break
                item = self._queue.get()
            running = item is not None
            self._emit(b"".join(self._safe_lines(entry) for entry in batch))

    def _safe_lines(self, entry: tuple[Any, ...]) -> bytes:
        try:
            return self._lines(entry)
        except Exception as error:  # the outermost edge of the thread, which must outlive any line
            METRICS.count("log_lines_failed")
            return _line(timestamp(), "error", "A log line cannot be written", None, None, describe(error))

    def _lines(self, entry: tuple[Any, ...]) -> bytes:
        epoch, level, message, request_id, trace_id, metadata = entry
        at = timestamp(epoch)
        found: set[str] = set()
        clean = self._redactor.apply(metadata or {}, found)
        lines = _line(at, level, message, request_id, trace_id, clean)
        if found:
            keys = {"keys": sorted(found)}
            lines += _line(at, "warn", "Sensitive log metadata redacted", request_id, trace_id, keys)
        if self._dropped:
            with self._drops:
                dropped, self._dropped = self._dropped, 0
            lines += _line(at, "warn", "Log lines dropped", None, None, {"lines": dropped})
        return lines

    def _emit(self, data: bytes) -> None:
        self._print(data)
        if self._file is None:
            return
        try:
            self._warn_of(self._file.write(data), self._file)
            self._file_failed = False
        except OSError as error:
            METRICS.count("log_file_failures")
            if not self._file_failed:
                self._file_failed = True
                reason = {
                    "file": str(self._file.path),
                    "setting": "LLM_CALLER_LOG_FILE",
                    "error": error.strerror or type(error).__name__,
                }
                self._print(_line(timestamp(), "error", "Log file cannot be written", None, None, reason))

    def _warn_of(self, notices: list[Notice], file: RotatingFile) -> None:
        for event, words, told in notices:
            METRICS.count(event)
            line = _line(timestamp(), "warn", words, None, None, told)
            if self._level >= LEVELS["warn"]:
                self._print(line)
                file.write(line)

    def _print(self, data: bytes) -> None:
        try:
            self._stdout.write(self._stdout_fd, data)
        except OSError:
            METRICS.count("log_stdout_failures")


def _line(
    at: str, level: str, message: str, request_id: str | None, trace_id: str | None, metadata: dict[str, Any]
) -> bytes:
    line = {
        "timestamp": at,
        "level": level,
        "message": message,
        "requestId": request_id,
        "traceId": trace_id,
        "metadata": metadata,
    }
    try:
        encoded = msgspec.json.encode(line)
    except (UnicodeEncodeError, OverflowError, TypeError):
        line |= {
            "message": _printable(message),
            "metadata": {"unprintable": _printable(repr(metadata)[:2000])},
        }
        line |= {"requestId": _printable(request_id), "traceId": _printable(trace_id)}
        encoded = msgspec.json.encode(line)
    if b"\x7f" in encoded or not encoded.isascii():
        encoded = _RAW_CONTROL.sub(lambda match: b"\\u%04x" % ord(match[0].decode()), encoded)
    return encoded + b"\n"


def _printable(text: str | None) -> str | None:
    return None if text is None else text.encode("ascii", "backslashreplace").decode()


class StandardHandler(logging.Handler):
    """Carries lines of Python's `logging` (Django, Daphne, Twisted) over, without exception texts:
    an exception's message may hold a prompt or a key, its type and the places it passed do not."""

    def emit(self, record: logging.LogRecord) -> None:
        metadata: dict[str, Any] = {"logger": record.name}
        if record.exc_info and record.exc_info[0] is not None:
            metadata |= describe(record.exc_info[1])
        level: Level = (
            "error"
            if record.levelno >= logging.ERROR
            else "warn"
            if record.levelno >= logging.WARNING
            else "info"
            if record.levelno >= logging.INFO
            else "debug"
        )
        log.write(level, _text_of(record), metadata=metadata)


def _text_of(record: logging.LogRecord) -> str:
    """The record's text, with the type of an exception wherever the exception itself would be shown."""
    message, arguments = str.__str__(str(_named(record.msg))), record.args
    try:
        if isinstance(arguments, Mapping):
            message = message % {key: _named(value) for key, value in arguments.items()}
        elif arguments:
            message = message % tuple(_named(value) for value in arguments)
    except Exception:  # an argument's own code failed, or there are too few of them
        message = f"{message} (its arguments do not fit)"
    error = record.exc_info[1] if record.exc_info else None
    for shown in (repr(error), str(error)) if error is not None else ():
        message = message.replace(shown, type(error).__name__) if shown else message
    return message


def _named(value: Any) -> Any:
    return type(value).__name__ if isinstance(value, BaseException) else value


def describe(error: BaseException | None) -> dict[str, Any]:
    """An exception for the log: its type, its cause's type and where it was raised."""
    if error is None:
        return {}
    frames = traceback.extract_tb(error.__traceback__)[-8:]
    cause = error.__cause__ or error.__context__
    return {
        "errorType": type(error).__name__,
        "cause": type(cause).__name__ if cause else None,
        "frames": [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames],
    }


log = JsonLog()
