"""The health report: the worst part decides (contract §1, health)."""

import re
from itertools import permutations
from typing import Any

import msgspec
import pytest

from telemetry.health import Component, Coverage, Status, report, timestamp


def component(status: Status, **more: Any) -> Component:
    return Component(name="transport", status=status, timestamp=timestamp(), **more)


@pytest.mark.parametrize(
    ("statuses", "worst"),
    [
        ([], "degraded"),
        (["ok"], "ok"),
        (["ok", "degraded"], "degraded"),
        (["ok", "failed"], "failed"),
        (["ok", "degraded", "failed"], "failed"),
        (["degraded", "degraded", "ok"], "degraded"),
    ],
)
def test_the_worst_wins_in_any_order(statuses: list[Status], worst: Status) -> None:
    for ordered in permutations(statuses):
        told = report(component(status) for status in ordered)
        assert told.status == worst
        assert [part.status for part in told.components] == list(ordered)


def test_the_report_has_the_contract_s_names_and_nothing_empty() -> None:
    covered = component("ok", capability_coverage=(Coverage("chat", "ok"),), details="3 models")
    told = msgspec.json.decode(msgspec.json.encode(report([component("degraded"), covered])))
    stamps = {told.pop("timestamp"), *(part.pop("timestamp") for part in told["components"])}
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", stamp) for stamp in stamps)
    assert told == {
        "status": "degraded",
        "components": [
            {"name": "transport", "status": "degraded"},
            {
                "name": "transport",
                "status": "ok",
                "details": "3 models",
                "capabilityCoverage": [{"capability": "chat", "status": "ok"}],
            },
        ],
    }


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000.25, "2023-11-14T22:13:20.250Z"),
        (0.0009, "1970-01-01T00:00:00.000Z"),
        (0.9999, "1970-01-01T00:00:00.999Z"),
    ],
)
def test_times_are_utc_with_milliseconds(epoch: float, text: str) -> None:
    assert timestamp(epoch) == text
