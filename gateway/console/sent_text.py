"""*Was this text sent?* The text is compared by its keyed digests and kept nowhere, nor shown again."""

from datetime import UTC, date, datetime, time
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from gateway.asked import forms_of
from telemetry.digests import DigestKey
from telemetry.known_clients import doubt_about
from telemetry.sent_text import calls_with

SHOWN = 100


class TextForm(forms.Form):
    text = forms.CharField(
        strip=False,
        widget=forms.Textarea(attrs={"rows": 8, "cols": 80, "autocomplete": "off", "spellcheck": "false"}),
        label="The text",
        help_text="The whole prompt, or the whole answer. Of an embed call the inputs, each on a line of its own. "
        "Or JSON: the whole messages or inputs of a request, or a text in quotes, which is taken to the letter.",
    )
    tool_id = forms.CharField(required=False, max_length=200, label="Client", help_text="Empty: any.")
    since = forms.DateField(
        required=False, label="From (UTC)", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        required=False,
        label="To, inclusive (UTC)",
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"]
        if not text.strip():
            raise forms.ValidationError("A text that is more than blanks.")
        return text

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        since, until = data.get("since"), data.get("until")
        if since and until and until < since:
            self.add_error("until", "It ends before it begins.")
        if doubt := doubt_about(data.get("tool_id", "")):
            self.add_error("tool_id", doubt)
        return data


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def sent_text(request: HttpRequest) -> HttpResponse:
    form = TextForm(request.POST or None)
    context: dict[str, Any] = {"title": "Was this text sent?"}
    if request.method == "POST" and form.is_valid():
        context |= _answer(form.cleaned_data)
        # What was pasted is not in the page that answers; the rest of the question is.
        form = TextForm(initial=form.cleaned_data | {"text": ""})
    elif form.is_bound:
        form.data = form.data.copy()  # type: ignore[union-attr]
        form.data["text"] = ""
    context |= {"form": form}
    return render(request, "admin/console/sent_text.html", admin.site.each_context(request) | context)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    digests = digests_under_all_keys(asked["text"])
    since, until = asked["since"], asked["until"]
    found = calls_with(
        digests,
        since=since and _at(since, time.min),
        until=until and _at(until, time.max),
        tool_id=asked["tool_id"],
        most=SHOWN + 1,
    )
    return {
        "answered": True,
        "characters": len(asked["text"]),
        "found": found[:SHOWN],
        "is_more": len(found) > SHOWN,
        "searched": _searched(asked),
    }


def _searched(asked: dict[str, Any]) -> str:
    """What the answer is about, to be read behind "call"; "" for the whole record."""
    since, until, told = asked["since"], asked["until"], []
    if asked["tool_id"]:
        told.append(f"of client {asked['tool_id']}")
    if since and until:
        told.append(f"from {since} to {until} (UTC)")
    elif since:
        told.append(f"from {since} on (UTC)")
    elif until:
        told.append(f"up to and including {until} (UTC)")
    return " ".join(told)


def digests_under_all_keys(text: str) -> set[str]:
    keys = [DigestKey(key) for key in settings.ENCRYPTION_KEYS]
    return {key.digest(form) for form in forms_of(text) for key in keys}


def _at(day: date, moment: time) -> datetime:
    return datetime.combine(day, moment, UTC)
