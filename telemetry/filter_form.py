"""The filter of the record as people fill it in and as it stands in an address: one form reads both."""

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import QueryDict

from telemetry.criteria import CLASSES, Criteria, Place, Term, read_place
from telemetry.families import METHODS

PERIODS = {
    "1h": ("the last hour", timedelta(hours=1)),
    "24h": ("the last 24 hours", timedelta(hours=24)),
    "7d": ("the last 7 days", timedelta(days=7)),
    "30d": ("the last 30 days", timedelta(days=30)),
}
CLASS_WORDS = {
    "served": "served",
    "refused": "refused (by us, or a limit)",
    "failed": "failed",
    "broken-off": "broken off",
}
COLUMNS = {
    "client": "tool_id",
    "token": "token_id",
    "provider": "provider",
    "model": "model",
    "method": "method",
    "outcome": "outcome",
    "request": "request_id",
    "peer": "peer",
    "config": "config_version",
}
"""Filters that ask for a whole value, and their columns."""
SAID = {"since": "from", "until": "before", "trace": "trace or call", "request": "request"}
"""How a filter is called in a sentence, where its label would not do."""
PLACES = ("older", "newer")
"""Parameters of an address beside the filter: where in the list it begins."""


class MomentField(forms.DateTimeField):
    default_error_messages = {"invalid": "Write a date and time as 2026-01-31 13:45, or the date alone."}

    def to_python(self, value: Any) -> datetime | None:
        try:
            moment = super().to_python(value)
            return moment.astimezone(UTC) if moment else None
        except (OverflowError, ValueError):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


def _moment(label: str) -> MomentField:
    places = {"placeholder": "2026-01-31 13:45", "size": 19, "autocomplete": "off"}
    return MomentField(label=label, required=False, widget=forms.TextInput(attrs=places))


def _whole(label: str, width: int, *, strip: bool = True) -> forms.CharField:
    """`strip`: false where clients choose the text, and a blank at an end may be part of it."""
    look = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "size": 20})
    return forms.CharField(label=label, required=False, max_length=width, widget=look, strip=strip)


class FilterForm(forms.Form):
    use_required_attribute = False
    period = forms.ChoiceField(
        required=False,
        choices=[("", "any time"), *((name, words) for name, (words, _) in PERIODS.items())],
    )
    since = _moment("From (UTC)")
    until = _moment("To, not included (UTC)")
    client = _whole("Client", 200, strip=False)
    token = _whole("Token id", 64)
    provider = _whole("Provider", 100)
    model = _whole("Model", 500, strip=False)
    method = forms.ChoiceField(required=False, choices=[("", "any"), *((name, name) for name in METHODS)])
    outcome = forms.ChoiceField(
        required=False,
        choices=[
            ("", "any"),
            ("in a word", [(name, CLASS_WORDS[name]) for name in CLASSES]),
            ("exactly", [(outcome, outcome) for outcomes in CLASSES.values() for outcome in outcomes]),
        ],
    )
    request = _whole("Request id", 200, strip=False)
    trace = _whole("Trace id or call id", 200)
    peer = _whole("Address (peer)", 64)
    config = forms.IntegerField(
        label="Configuration version",
        required=False,
        validators=[MinValueValidator(0), MaxValueValidator(2**31 - 1)],
        widget=forms.TextInput(attrs={"inputmode": "numeric", "size": 8, "autocomplete": "off"}),
    )

    def __init__(self, data: QueryDict) -> None:
        super().__init__(data, label_suffix="", auto_id="filter_%s")
        self._unknown = sorted(set(data) - set(self.fields) - set(PLACES))
        self.place: Place | None = None

    @property
    def older(self) -> bool:
        return not self.data.get("newer")

    def clean(self) -> dict[str, Any]:
        found = self.cleaned_data
        if self._unknown:
            names = ", ".join(name[:40] for name in self._unknown[:5])
            raise forms.ValidationError(f"The address has a filter that is not known here: {names}.")
        if found.get("period") and (found.get("since") or found.get("until")):
            self.add_error("period", "Choose a period, or give from and to; not both.")
        if found.get("since") and found.get("until") and found["since"] >= found["until"]:
            self.add_error("until", "The end lies before the beginning.")
        self._read_place()
        return found

    def _read_place(self) -> None:
        given = [name for name in PLACES if self.data.get(name)]
        try:
            if len(given) > 1:
                raise ValueError("two places")
            self.place = read_place(self.data[given[0]]) if given else None
        except ValueError:
            raise forms.ValidationError(
                "The address names no place in the list. Begin at the newest."
            ) from None

    def criteria(self, now: datetime) -> Criteria:
        found = self.cleaned_data
        period = PERIODS.get(found["period"])
        return Criteria(
            since=now - period[1] if period else found["since"],
            until=found["until"],
            terms=tuple(_term(name, found[name]) for name in COLUMNS if found[name] not in ("", None)),
            trace=found["trace"],
        )

    def query(self) -> str:
        """As it stands in an address, in one order; "" where nothing is filtered."""
        return urlencode(self._given())

    def words(self) -> str:
        """For people, in one line."""
        told = []
        for name, text in self._given():
            label = SAID.get(name) or str(self.fields[name].label or name).lower()
            zone = " UTC" if name in ("since", "until") else ""
            told.append(PERIODS[text][0] if name == "period" else f"{label} {text}{zone}")
        return ", ".join(told)

    def _given(self) -> list[tuple[str, str]]:
        texts = [(name, self._typed(name)) for name in self.fields]
        return [(name, text) for name, text in texts if text]

    def _typed(self, name: str) -> str:
        text = self.data.get(name, "")
        return text.strip() if getattr(self.fields[name], "strip", True) else text


def _term(name: str, value: Any) -> Term:
    if name == "outcome":
        return Term("outcome", CLASSES.get(value, (value,)))
    return Term(COLUMNS[name], (value,))


def read_query(query: str) -> FilterForm:
    """From the part of an address behind the question mark."""
    return FilterForm(QueryDict(query))
