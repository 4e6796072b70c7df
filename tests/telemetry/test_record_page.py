"""The page of one call reads as a story: who asked, what happened, what was decided and why."""

import uuid
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client as Browser

from telemetry.models import RequestLog

pytestmark = pytest.mark.django_db
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


def page_of(**columns: Any) -> str:
    facts: dict[str, Any] = {
        "call_id": uuid.uuid4(), "tool_id": "bob", "token_id": "T1", "method": "chat", "peer": "127.0.0.1",
        "outcome": "ok", "status": 200, "started_at": AT, "duration_ms": 12,
    }  # fmt: skip
    row = RequestLog.objects.create(**(facts | columns))
    browser = Browser()
    browser.force_login(User.objects.create_superuser("olga", "", "olga's password 1"))
    answer = browser.get(f"/admin/telemetry/requestlog/{row.pk}/change/")
    assert answer.status_code == 200
    return " ".join(answer.content.decode().split())


def test_a_call_that_fell_back_tells_candidates_attempts_and_limits() -> None:
    considered = [
        {"provider": "gpu", "model": "m", "score": 90, "bonus": 50, "health": "ok"},
        {"provider": "cpu", "model": "m"},
        {"provider": "off", "model": "m", "excluded": "DISABLED"},
        {"provider": "picky", "model": "m", "score": 1},
    ]
    rate = {"maxRequests": 5, "intervalMs": 1000, "remaining": 3, "granted": True, "own": False}
    page = page_of(
        decision={
            "routing": {"rule": "rank", "considered": considered, "more": 2},
            "unable": {"picky": "toolChoice"},
            "busy": ["cpu"],
            "rate": rate,
        },
        attempts=[
            {"provider": "gpu", "model": "m", "durationMs": 7, "classification": "TEMPORARY", "status": 503},
            {"provider": "cpu", "model": "m", "durationMs": 5},
        ],
        provider="cpu", model="m", strategy="fallback",
    )  # fmt: skip
    for told in (
        "First choice<", "Choice 2, but it had no place free", "Left out: it is disabled", "its kind cannot do “toolChoice”", "And 2 more.",
        "5 calls in any 1000 ms (the default); 3 left", "TEMPORARY, status 503", "answered",
        "cpu, m: a later provider answered because an earlier one failed",
    ):  # fmt: skip
        assert told in page


def test_a_refused_call_tells_where_it_was_refused() -> None:
    page = page_of(
        outcome="FORBIDDEN", status=403, decision={"stage": "permission"}, claimed_tool="<b>eve</b>"
    )
    assert "this client may not make such a call" in page
    assert "It never came to a choice between providers." in page
    assert "No provider was asked." in page
    assert "&lt;b&gt;eve&lt;/b&gt;" in page


def test_the_page_tells_what_happened_in_the_order_of_time() -> None:
    page = page_of(
        attempts=[
            {"provider": "gpu", "model": "m", "durationMs": 7, "classification": "TEMPORARY"},
            {"provider": "cpu", "model": "m", "durationMs": 51},
        ],
        first_event_ms=60,
        duration_ms=99,
    )
    parts = [
        "The call was accepted.",
        "Attempt 1: gpu, m",
        "Attempt 2: cpu, m",
        "The first event",
        "The call was over.",
    ]
    assert sorted(parts, key=page.index) == parts
    assert "Served: the client was sent the whole answer." in page
    for time in ("7 ms", "51 ms", "60 ms", "99 ms"):
        assert time in page


def test_a_call_whose_process_died_claims_to_know_no_more() -> None:
    page = page_of(outcome="UNKNOWN", status=0, duration_ms=0)
    assert "Not known: the gateway&#x27;s process died" in page
    assert "Nothing more is known." in page
    assert "The call was over." not in page


def test_links_lead_to_all_calls_that_have_the_same() -> None:
    page = page_of(
        tool_id="b&b/x", token_id="T 1", request_id="r?1", peer="::1", trace_id="t#1", config_version=4
    )
    for query in (
        "client=b%26b%2Fx",
        "token=T%201",
        "request=r%3F1",
        "peer=%3A%3A1",
        "trace=t%231",
        "config=4",
    ):
        assert f'href="/admin/telemetry/requestlog/?{query}"' in page
    assert 'href="/admin/gateway/configversion/4/change/"' in page


def test_a_call_of_before_decisions_were_kept_still_has_its_page() -> None:
    assert "It never came to a choice" in page_of(decision={})


def test_a_call_of_a_client_s_trace_names_it() -> None:
    assert "4bf92f3577b34da6a3ce929d0e0e4736" in page_of(
        decision={"traceId": "4bf92f3577b34da6a3ce929d0e0e4736"}
    )
    User.objects.all().delete()
    assert "Trace (W3C)" not in page_of(decision={"stage": "body"})


def test_a_stream_that_broke_off_had_an_answer() -> None:
    broken = {
        "method": "chatStream",
        "outcome": "TEMPORARY",
        "reason": "UPSTREAM_DISCONNECTED",
        "provider": "gpu",
    }
    page = page_of(**broken, status=200, first_event_ms=31, bytes_out=900, decision={"stage": "attempts"})
    assert "The client had been sent what came until then." in page
    assert "It was passed on; its answer had begun when it ended." in page
    assert "could answer" not in page
    User.objects.all().delete()
    page = page_of(**broken, status=502, bytes_out=90, decision={"stage": "attempts"})
    assert "Failed: no provider that was asked could answer." in page


def test_another_http_method_is_no_matter_of_rights() -> None:
    page = page_of(outcome="METHOD_NOT_ALLOWED", status=405, method="", decision={"stage": "permission"})
    assert "it came with another HTTP method" in page
    assert "may not make such a call" not in page
    User.objects.all().delete()
    page = page_of(outcome="INTERNAL_ERROR", status=500, decision={"stage": "permission"})
    assert "It ended before the request was read." in page
    assert "may not make such a call" not in page


def test_usage_that_a_provider_did_not_report_is_not_zero() -> None:
    answered = {"provider": "gpu", "model": "m", "strategy": "capability-default"}
    assert "not reported by the provider" in page_of(**answered)
    User.objects.all().delete()
    assert "7 in, 0 out" in page_of(**answered, input_tokens=7)
    User.objects.all().delete()
    assert "0 in, 0 out" in page_of(outcome="RATE_LIMIT", status=429), "nobody answered"


def test_characters_that_nobody_sees_are_marked() -> None:
    page = page_of(
        tool_id="bob\u200b",
        claimed_tool="\u202ebob",
        request_id="r\n1",
        model="a\u2060b",
        provider="gpu",
        peer="::1 ",
    )
    for part in ("bob", "", "r", "a", "::1"):
        escape = {"bob": "u200b", "": "u202e", "r": "n", "a": "u2060", "::1": "u0020"}[part]
        assert f'{part}<span class="escape">\\{escape}</span>' in page
    assert '<span class="escape">' not in page.split("See all calls")[1].split("</section>")[0], (
        "links keep it"
    )
    User.objects.all().delete()
    assert 'class="escape"' not in page_of(tool_id="bob & co. Zürich 日本", claimed_tool="two words")


def test_a_call_can_be_taken_away_alone() -> None:
    page = page_of(call_id=uuid.UUID(int=7))
    assert f'href="/admin/record/export/?call_id={uuid.UUID(int=7)}">Export this call</a>' in page
