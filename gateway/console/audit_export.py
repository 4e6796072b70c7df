"""The page *Export*: the record, or part of it, as a download that streams."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async
from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.shortcuts import render

from gateway.edge.pages import problem_response
from gateway.exports import FORMATS, NO_SUCH_CALL, stream
from gateway.throttle import EXPORTS
from telemetry.audit.exports import lacks_its_call
from telemetry.audit.selection import Selection
from telemetry.filter_fields import MomentField
from telemetry.filter_form import read_query
from telemetry.known_clients import doubt_about


class ExportForm(forms.Form):
    wanted = forms.ChoiceField(label="Format", choices=[(name, each.title) for name, each in FORMATS.items()])
    since = MomentField(
        label="Calls from",
        required=False,
        help_text="UTC, for example 2026-11-01 or 2026-11-01 08:00. Empty: the first.",
    )
    until = MomentField(label="Calls before", required=False, help_text="Empty: up to the last one.")
    tool_id = forms.CharField(
        label="Client",
        required=False,
        max_length=200,
        strip=False,
        help_text="Its toolId. Empty: every client.",
    )
    call_id = forms.UUIDField(label="Call id", required=False, help_text="One call alone.")

    def clean(self) -> dict[str, Any]:
        told: dict[str, Any] = super().clean() or {}
        since, until = told.get("since"), told.get("until")
        if since and until and since >= until:
            self.add_error("until", "The end lies before the beginning.")
        if doubt := doubt_about(told.get("tool_id", "")):
            self.add_error("tool_id", doubt)
        if not self.errors and lacks_its_call(self.selection()):
            self.add_error("call_id", NO_SUCH_CALL)
        return told

    def selection(self) -> Selection:
        told = self.cleaned_data
        return Selection(
            since=told["since"],
            until=told["until"],
            tool_id=told["tool_id"],
            call_id=str(told["call_id"] or ""),
        )


def audit_export(request: HttpRequest) -> HttpResponse | StreamingHttpResponse:
    if request.method != "POST":
        first = {name: request.GET[name] for name in ExportForm.base_fields if name in request.GET}
        told, left_out = _of_filter(request.GET.get("filter", ""))
        return _page(request, ExportForm(initial={"wanted": "pack", **told, **first}), left_out)
    form = ExportForm(request.POST)
    if not form.is_valid():
        return _page(request, form)
    if EXPORTS.count(request):
        return problem_response(EXPORTS.problem)
    wanted = form.cleaned_data["wanted"]
    chosen = FORMATS[wanted]
    chunks = stream(form.selection(), wanted, by=request.user.get_username(), where="from the admin")
    response = StreamingHttpResponse(off_the_loop(chunks), content_type=chosen.media_type)
    name = f"llm-caller-record-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.{chosen.ending}"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    response.headers["Cache-Control"] = "no-store"
    return response


async def off_the_loop(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """A chunk at a time: Django would read all of a plain iterator before it sends the first byte."""
    while chunk := await sync_to_async(next)(chunks, b""):
        yield chunk


def _of_filter(query: str) -> tuple[dict[str, Any], str]:
    """What an export can keep of the filter that is set in the record, and in words what it cannot."""
    form = read_query(query)
    if not form.is_valid():
        return {}, "all of it, as it cannot be read"
    asked = form.criteria(datetime.now(UTC).replace(microsecond=0))
    ends = {"since": asked.since, "until": asked.until}
    told: dict[str, Any] = {
        name: at.replace(tzinfo=None).isoformat(sep=" ") for name, at in ends.items() if at
    }
    return told | {"tool_id": form.cleaned_data["client"]}, form.words(besides=("period", *ends, "client"))


def _page(request: HttpRequest, form: ExportForm, left_out: str = "") -> HttpResponse:
    context = admin.site.each_context(request) | {
        "title": "Export the record",
        "form": form,
        "left_out": left_out,
    }
    return render(
        request, "admin/console/audit_export.html", context, status=200 if not form.is_bound else 422
    )
