"""What is stored before the pictures are taken and no page makes. Runs inside `manage.py shell`."""

import math
import random
import uuid
from datetime import UTC, datetime, timedelta

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.utils import timezone

from gateway import second_factor
from gateway.models import StaffSecondFactor
from gateway.places import audit_folder
from telemetry.audit.pruning import bury
from telemetry.models import (
    CapturedContent,
    ContentAccess,
    LegalHold,
    RequestLog,
    RetentionRule,
    SavedFilter,
)


def past_hour() -> None:
    """Calls before the first, for the charts; the writer sums them up when it starts."""
    draw, now, rows = random.Random(1), timezone.now(), []
    for minute in range(2, 60):
        for _ in range(round(25 + 15 * math.sin(minute / 8) + draw.uniform(0, 8))):
            moment = now - timedelta(minutes=minute, seconds=draw.uniform(0, 59))
            rows.append(_call(draw, moment))
    _store(sorted(rows, key=lambda row: row.started_at))


def _store(rows: list[RequestLog]) -> None:
    """In the chain, as the writer stores them."""
    chain = audit_folder().chain()
    with transaction.atomic():
        head = chain.extend(rows)
        RequestLog.objects.bulk_create(rows)
    chain.reached(head)


def _call(draw: random.Random, moment: datetime) -> RequestLog:
    failed = draw.random() < 0.03
    provider = "lmstudio_gpu" if draw.random() < 0.8 else "lmstudio_cpu"
    took = round(draw.lognormvariate(6.2, 0.6)) + (400 if provider == "lmstudio_cpu" else 0)
    return RequestLog(
        call_id=uuid.UUID(int=draw.getrandbits(128)), tool_id=draw.choice(["editor"] * 4 + ["nightly-summary"]),
        token_id="earlier", method="chatStream", peer="127.0.0.1", provider=provider, model="gemma-3-270m",
        strategy="capability-default", outcome="TEMPORARY" if failed else "ok", status=503 if failed else 200,
        attempts=[{"provider": provider, "model": "gemma-3-270m", "durationMs": took}],
        started_at=moment, duration_ms=took,
        first_event_ms=None if failed else round(draw.lognormvariate(4.3, 0.5)),
        input_tokens=draw.randint(50, 900), output_tokens=0 if failed else draw.randint(10, 300),
    )  # fmt: skip


def colleague() -> None:
    """Olga, who reads the record, and has a second factor."""
    olga = User.objects.create_user("olga", password="the auditor's password 1", is_staff=True)
    olga.groups.add(Group.objects.get(name="auditors"))
    second_factor.begin(olga)
    StaffSecondFactor.objects.update(confirmed_at=timezone.now())


def protection() -> None:
    """Rules, a hold, and a tombstone of calls that a rule removed."""
    rule = RetentionRule.objects.create(tool_id="dashboard", days=30)
    old = RequestLog.objects.filter(tool_id="dashboard").exclude(chain="").order_by("chain", "sequence")
    bury(audit_folder().signer(), list(old), reason=str(rule), by="ada", now=datetime.now(UTC))
    RetentionRule.objects.create(days=365)
    hold = "Case 2026-17: the summaries of November"
    LegalHold.objects.create(
        reason=hold, tool_id="nightly-summary", since=timezone.now() - timedelta(days=24)
    )
    ada, query = User.objects.get(username="ada"), "provider=lmstudio_gpu&outcome=failed"
    SavedFilter.objects.create(owner=ada, name="Failures of the GPU", query=query, shared=True)
    SavedFilter.objects.create(owner=ada, name="The night's summaries", query="client=nightly-summary")
    kept = CapturedContent.objects.order_by("pk").first()
    assert kept is not None, "a client of the stage has its content kept"
    ContentAccess.objects.create(who="olga", call_id=kept.call_id, reason="Case 2026-17: what was summed up")
