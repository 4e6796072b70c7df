"""The first page of the admin: is it well? Figures and charts of a range, health now, what needs attention."""

from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from gateway import live
from gateway.console.attention import Seen, attention
from gateway.console.breakdown import ENDINGS, PERCENTILES, Breakdown, Ending, endings, rows
from gateway.console.charts import charts, data
from gateway.console.words import compact, duration, rate, share
from gateway.runtime import Observations
from providers.loader import ProviderNote, notes
from providers.secrets import KeyRing
from telemetry.figures import RANGES, SHOWN_NAMES, Figures, Range, Reading, is_recorded, read
from telemetry.sums import Percentiles

DEFAULT_RANGE = "24h"
SHOWN_PROVIDERS = 30
SHOWN_TO = (
    *("telemetry.view_requestlog", "providers.view_provider"),
    *("clients.view_client", "gateway.view_configfile"),
)
"""Figures, health, tokens, files: who has none of these rights sees an empty page, which says so."""


class Card(NamedTuple):
    """`query`: the record's filter for what is counted, beside its time; None where the figure counts no calls."""

    title: str
    figure: str
    note: str
    query: str | None = None


class Health(NamedTuple):
    """One enabled provider, as it was seen last. `state`: ok, degraded, failed, or off before the first look."""

    pk: int
    name: str
    state: str
    words: str


def home(request: HttpRequest) -> HttpResponse:
    """A fixed number of queries, whatever is stored. `?range=` names a key of `RANGES`."""
    now = datetime.now(UTC)
    chosen = request.GET.get("range", "")
    span = RANGES.get(chosen, RANGES[DEFAULT_RANGE])
    may_read, may_see_providers, *_ = rights = [request.user.has_perm(needed) for needed in SHOWN_TO]  # type: ignore[union-attr]
    seen = _look(now, providers=may_see_providers)
    context = {
        "title": "Home",
        "now": now,
        "ranges": [(name, one.label, one is span) for name, one in RANGES.items()],
        "span": span,
        "sees_nothing": not any(rights),
        "attention": attention(request, seen),
        "health": _health(seen) if may_see_providers else None,
        "may_read": may_read,
        "recorded": seen.recorded,
        "shown_names": SHOWN_NAMES,
    }
    if may_read and seen.recorded:
        # The record's filter for the calls that are counted here; its own periods do not begin with a whole day.
        context["counted_since"] = urlencode({"since": f"{span.start(now):%Y-%m-%d %H:%M}"})
        context |= _figures(read(span, now), span)
    return render(request, "admin/console/home.html", admin.site.each_context(request) | context)


def _look(now: datetime, *, providers: bool) -> Seen:
    gateway = live.current()
    return Seen(
        now=now,
        providers=notes(KeyRing(settings.ENCRYPTION_KEYS)) if providers else (),
        observed=gateway.observations if gateway else None,
        recorded=is_recorded(),
    )


def _figures(reading: Reading, span: Range) -> dict[str, Any]:
    drawn = charts(reading.points, span)
    total, minutes = reading.total, sum(point.minutes for point in reading.points)
    return {
        "total": total,
        "cards": _cards(total, minutes),
        "charts": drawn,
        "chart_data": data(drawn),
        "endings": endings(total),
        "percentiles": PERCENTILES,
        "breakdowns": (
            Breakdown("Providers", "provider", rows(reading.providers, minutes), reading.more_providers),
            Breakdown("Clients", "client", rows(reading.clients, minutes), reading.more_clients),
        ),
    }


def _cards(total: Figures, minutes: float) -> list[Card]:
    return [
        _calls("Calls", total.calls, rate(total.calls, minutes) if total.calls else "", ""),
        *(_ended(ending, total) for ending in ENDINGS),
        _times("Latency (p50)", total.latency, "no call was sent on"),
        _times("First token (p50)", total.first_event, "no stream was begun"),
        Card("Tokens in", compact(total.input_tokens), "as providers count them"),
        Card("Tokens out", compact(total.output_tokens), "as providers count them"),
    ]


def _ended(ending: Ending, total: Figures) -> Card:
    calls = total.count(ending.key)
    return _calls(
        ending.title, calls, f"{share(calls, total.calls)} of the calls", urlencode({"outcome": ending.key})
    )


def _calls(title: str, calls: int, note: str, query: str) -> Card:
    return Card(title, compact(calls), note, query if calls else None)


def _times(title: str, found: Percentiles | None, none: str) -> Card:
    note = f"p95 {duration(found.p95)} · p99 {duration(found.p99)}" if found else none
    return Card(title, duration(found and found.p50), note)


def _health(seen: Seen) -> dict[str, Any]:
    """The enabled providers, those that are not well first."""
    enabled = [note for note in seen.providers if note.enabled]
    found = [_seen(note, seen.observed) for note in enabled] if seen.observed else []
    found.sort(key=lambda one: ("failed", "degraded", "off", "ok").index(one.state))
    probed = [one.at for one in seen.observed.providers.values()] if seen.observed else []
    return {
        "running": seen.observed is not None,
        "shown": found[:SHOWN_PROVIDERS],
        "more": max(len(found) - SHOWN_PROVIDERS, 0),
        "enabled": len(enabled),
        "disabled": len(seen.providers) - len(enabled),
        "probed": datetime.fromtimestamp(min(probed), UTC) if probed else None,
    }


def _seen(note: ProviderNote, observed: Observations) -> Health:
    observation = observed.providers.get(note.name)
    if observation is None:
        return Health(note.pk, note.name, "off", "Not looked at yet")
    models = len(observation.models)
    words = observation.detail or f"Answers; lists {models} model{'' if models == 1 else 's'}"
    return Health(note.pk, note.name, observation.status, words)
