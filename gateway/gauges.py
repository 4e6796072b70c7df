"""What the metrics tell of this moment, beside what was counted: read when somebody asks, never on a call's way."""

import sys
import time
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

import django

from gateway.environment import BASE_DIR
from gateway.runtime import Gateway
from telemetry import families
from telemetry.audit import verdict
from telemetry.backlog import BacklogReader
from telemetry.families import Family
from telemetry.logs import log
from telemetry.metrics import Labels, Number

Gauges = dict[Family, Mapping[Labels, Number]]
_UP = {"ok": 1.0, "degraded": 0.5, "failed": 0.0}
_STARTED = time.time()


def own(gateway: Gateway) -> Gauges:
    """Of this process alone."""
    runtime, seen = gateway.runtime, gateway.observations.providers
    up = {
        (provider.name,): _UP[seen[provider.name].status]
        for provider in runtime.catalog.enabled()
        if provider.name in seen
    }
    return {
        families.IN_FLIGHT: {(): len(gateway.running)},
        families.CONFIG_VERSION: {(): runtime.version},
        families.STARTED: {(): _STARTED},
        families.PROVIDER_UP: up,
    }


def shared(backlog: BacklogReader, audit_folder: Path) -> Gauges:
    """What is the same whichever process is asked: the journal, the record, the log file, the installation."""
    behind = backlog.read()
    standing = log.standing()
    gauges: Gauges = {
        families.BACKLOG: {(): behind.bytes},
        families.OLDEST: {(): behind.oldest_s},
        families.LAG: {(): time.time() - _STARTED if behind.lag_s is None else behind.lag_s},
        families.SET_ASIDE: {(): behind.set_aside},
        families.BUILD: {(version(), sys.version.split()[0], django.get_version()): 1},
    }
    if (verified := verdict.told(audit_folder)) is not None and verified.at:
        gauges |= {families.VERIFIED: {(): verified.at}, families.FINDINGS: {(): verified.found}}
    if standing is not None:
        gauges[families.LOG_BYTES] = {(): standing.bytes}
        gauges[families.LOG_ROTATED] = {(): standing.rotated}
        gauges[families.LOG_CEILING] = {(): standing.kept}
    return gauges


@cache
def version() -> str:
    """Of the checkout where this is one, of the installed package elsewhere."""
    try:
        project = tomllib.loads((BASE_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        return str(project["version"])
    except FileNotFoundError:
        return metadata.version("llm-caller")
