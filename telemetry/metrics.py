"""Counters and latencies of this process, cheap enough for every call.

Percentiles come from the last `SAMPLES` calls of a method; the histogram for Prometheus counts all.
"""

import os
from bisect import bisect_left
from collections import Counter, deque
from pathlib import Path
from typing import Any

import msgspec

SAMPLES = 2_048
BUCKETS_MS = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000)
SNAPSHOT_FILE = "metrics.json"


class MethodMetrics:
    """What is known of one method."""

    __slots__ = ("buckets", "classifications", "error", "latencies", "retries", "success", "sum_ms")

    def __init__(self) -> None:
        self.success = 0
        self.error = 0
        self.retries = 0
        self.sum_ms = 0.0
        self.latencies: deque[float] = deque(maxlen=SAMPLES)
        self.buckets = [0] * (len(BUCKETS_MS) + 1)
        self.classifications: Counter[str] = Counter()

    def snapshot(self) -> dict[str, Any]:
        total = self.success + self.error
        ordered = sorted(self.latencies)
        return {
            "requests": {"total": total, "success": self.success, "error": self.error},
            "latencyMs": {
                "average": round(self.sum_ms / total, 3) if total else 0,
                "samples": len(ordered),
                "p50": _percentile(ordered, 50),
                "p95": _percentile(ordered, 95),
                "p99": _percentile(ordered, 99),
            },
            "retries": {"total": self.retries, "average": round(self.retries / total, 4) if total else 0},
            "classifications": dict(sorted(self.classifications.items())),
        }


def _percentile(ordered: list[float], percent: int) -> float:
    """Nearest rank; 0 without samples."""
    return round(ordered[-(-len(ordered) * percent // 100) - 1], 3) if ordered else 0


class Metrics:
    """All metrics of a process. Only the event loop writes; readers see whole numbers."""

    def __init__(self) -> None:
        self.methods: dict[str, MethodMetrics] = {}
        self.providers: dict[str, Counter[str]] = {}
        self.counters: Counter[str] = Counter()

    def observe_call(
        self, method: str, *, outcome: str, duration_ms: float, attempts: int, provider: str
    ) -> None:
        """One finished call. `outcome`: `ok` or the code it failed with. `attempts`: provider calls made."""
        entry = self.methods.get(method)
        if entry is None:
            entry = self.methods[method] = MethodMetrics()
        if outcome == "ok":
            entry.success += 1
        else:
            entry.error += 1
            entry.classifications[outcome] += 1
        entry.retries += max(attempts - 1, 0)
        entry.sum_ms += duration_ms
        entry.latencies.append(duration_ms)
        entry.buckets[bisect_left(BUCKETS_MS, duration_ms)] += 1
        if provider:
            counts = self.providers.setdefault(provider, Counter())
            counts["total"] += 1
            counts["success" if outcome == "ok" else "error"] += 1

    def count(self, name: str, by: int = 1) -> None:
        self.counters[name] += by

    def snapshot(self) -> dict[str, Any]:
        return {
            "methods": {name: entry.snapshot() for name, entry in sorted(self.methods.items())},
            "providers": {
                name: {key: counts[key] for key in ("total", "success", "error")}
                for name, counts in sorted(self.providers.items())
            },
            "counters": dict(sorted(self.counters.items())),
        }


METRICS = Metrics()


def get_metrics_snapshot() -> dict[str, Any]:
    """The metrics of this process (contract §6)."""
    return METRICS.snapshot()


def write_snapshot(folder: Path) -> None:
    """Replaces the snapshot file in one step, so that a reader never sees half of it. Raises `OSError`."""
    target = folder / SNAPSHOT_FILE
    temporary = folder / f".{SNAPSHOT_FILE}.{os.getpid()}"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        view = memoryview(msgspec.json.encode(get_metrics_snapshot()))
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
    temporary.replace(target)
