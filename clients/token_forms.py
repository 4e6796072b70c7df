"""What is asked when a token is issued, rotated or given another expiry."""

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from clients.expiry import LONGEST, end_of_day
from clients.models import Client, ClientToken

PERIODS = {"30": timedelta(days=30), "90": timedelta(days=90), "365": timedelta(days=365)}
DAY = "date"
"""The choice that the day belongs to; a script chooses it for who types one."""
EXPIRIES = (
    ("never", "Never"),
    ("30", "In 30 days"),
    ("90", "In 90 days"),
    ("365", "In 1 year"),
    (DAY, "At the end of a day:"),
)
BOTH = "A day is typed, but “{}” is chosen: choose “At the end of a day”, or clear the day."
OVERLAPS = (
    ("0", "No overlap: it ends now"),
    ("1", "1 hour"),
    ("24", "24 hours"),
    ("168", "7 days"),
)


class ExpiryForm(forms.Form):
    """`cleaned_data["expires_at"]`: the moment, or None for never."""

    expiry = forms.ChoiceField(choices=EXPIRIES, widget=forms.RadioSelect, initial="90", label="Expires")
    day = forms.DateField(
        required=False,
        widget=forms.DateInput(
            attrs={"type": "date", "aria-label": "Day", "data-chooses": DAY}, format="%Y-%m-%d"
        ),
        help_text="Valid through the whole of that day (UTC).",
    )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or {}
        if "expiry" in data and "day" in data:
            data["expires_at"] = self._expires_at(data)
        return data

    def _expires_at(self, data: dict[str, Any]) -> datetime | None:
        now = timezone.now()
        if data["expiry"] != DAY:
            if data["day"] is not None:
                self.add_error("day", BOTH.format(dict(EXPIRIES)[data["expiry"]]))
            return now + PERIODS[data["expiry"]] if data["expiry"] in PERIODS else None
        if data["day"] is None:
            self.add_error("day", "Choose the day.")
        elif data["day"] < now.date():
            self.add_error("day", "That day is over.")
        elif data["day"] > (now + LONGEST).date():
            self.add_error("day", "At most a hundred years from now.")
        else:
            return end_of_day(data["day"])
        return None


class IssueForm(ExpiryForm):
    """Sent twice, by a reload or a second click, it acts once: `newest` is what was newest when it was shown."""

    newest = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, client: Client, data: Any = None, **more: Any) -> None:
        self._newest = _newest_token(client)
        super().__init__(data, **more)
        self.fields["newest"].initial = self._newest

    def clean_newest(self) -> int:
        newest: int = self.cleaned_data["newest"]
        if newest != self._newest:
            raise forms.ValidationError("Another token was issued meanwhile.")
        return newest


class RotateForm(IssueForm):
    """`cleaned_data["overlap"]`: a period."""

    overlap = forms.TypedChoiceField(
        choices=OVERLAPS,
        coerce=lambda hours: timedelta(hours=int(hours)),
        widget=forms.RadioSelect,
        initial="24",
        label="Both work for",
    )
    field_order = ("overlap", "expiry", "day", "newest")


def like(token: ClientToken) -> str:
    """The choice that comes closest to what the token was issued for."""
    if token.expires_at is None:
        return "never"
    days = (token.expires_at - token.created_at).days
    return min(PERIODS, key=lambda name: abs(PERIODS[name].days - days))


def _newest_token(client: Client) -> int:
    return ClientToken.objects.filter(client=client).order_by("-pk").values_list("pk", flat=True).first() or 0
