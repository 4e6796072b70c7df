"""The filter of the record as people fill it in and as it stands in an address: one form reads both."""

from collections.abc import Collection, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from django.http import QueryDict

from telemetry.criteria import (
    CLASSES,
    METHOD_CLASSES,
    OF_MODELS,
    Criteria,
    Detail,
    Place,
    Term,
    read_place,
)
from telemetry.families import METHODS
from telemetry.filter_fields import PeerField, SpotField, moment, spellings, whole

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
DETAILS = ("asked", "strategy", "reason")
"""Filters by what no index knows."""
STRATEGIES = {
    "capability-default": "the first choice, with its default model",
    "caller-override": "named by the caller",
    "fallback": "a fallback (a later provider, or a general default model)",
}
WORDS = {
    "strategy": STRATEGIES,
    "method": {OF_MODELS: f"of models ({', '.join(METHOD_CLASSES[OF_MODELS])})"},
}
"""By filter, the values that are codes, as people read them."""
SAID = {
    "since": "from",
    "until": "before",
    "trace": "trace or call",
    "request": "request",
    "reason": "reason with",
    "strategy": "chosen:",
}
"""How a filter is called in a sentence, where its label would not do."""
PLACES = ("older", "newer")
"""Parameters of an address beside the filter: where in the list it begins."""


class FilterForm(forms.Form):
    use_required_attribute = False
    period = forms.ChoiceField(
        required=False,
        choices=[("", "any time"), *((name, words) for name, (words, _) in PERIODS.items())],
    )
    since = moment("From (UTC)")
    until = moment("To, not included (UTC)")
    client = whole("Client", 200, strip=False)
    token = whole("Token id", 64)
    provider = whole("Provider asked last", 100)
    asked = whole("Provider asked at all", 100)
    model = whole("Model", 500, strip=False)
    method = forms.ChoiceField(
        required=False,
        choices=[("", "any"), *WORDS["method"].items(), *((name, name) for name in METHODS)],
    )
    outcome = forms.ChoiceField(
        required=False,
        choices=[
            ("", "any"),
            ("in a word", [(name, CLASS_WORDS[name]) for name in CLASSES]),
            ("exactly", [(outcome, outcome) for outcomes in CLASSES.values() for outcome in outcomes]),
        ],
    )
    strategy = forms.ChoiceField(
        label="How it was chosen", required=False, choices=[("", "any"), *STRATEGIES.items()]
    )
    reason = whole("Reason (or a part of it)", 50)
    request = whole("Request id", 200, strip=False)
    trace = whole("Trace id or call id", 200)
    peer = PeerField("Address (peer)")
    spot = SpotField("Place in the chain")
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
            terms=tuple(_terms(found)),
            trace=found["trace"],
            details=tuple(Detail(name, found[name]) for name in DETAILS if found[name]),
        )

    def query(self) -> str:
        """As it stands in an address, in one order; "" where nothing is filtered."""
        return urlencode(self._given())

    def words(self, besides: Collection[str] = ()) -> str:
        """For people, in one line. `besides`: what is told elsewhere."""
        told = []
        for name, text in self._given():
            if name in besides:
                continue
            label = SAID.get(name) or str(self.fields[name].label or name).lower()
            said = WORDS.get(name, {}).get(text) or self._understood(name) or text
            told.append(PERIODS[text][0] if name == "period" else f"{label} {said}")
        return ", ".join(told)

    def _understood(self, name: str) -> str:
        """Of a moment, which can be written in several ways and in any zone."""
        found = getattr(self, "cleaned_data", {}).get(name)
        return f"{found.replace(tzinfo=None).isoformat(sep=' ')} UTC" if isinstance(found, datetime) else ""

    def _given(self) -> list[tuple[str, str]]:
        texts = [(name, self._typed(name)) for name in self.fields]
        return [(name, text) for name, text in texts if text]

    def _typed(self, name: str) -> str:
        text = self.data.get(name, "")
        return text.strip() if getattr(self.fields[name], "strip", True) else text


def _terms(found: dict[str, Any]) -> Iterator[Term]:
    several = {
        "outcome": CLASSES,
        "method": METHOD_CLASSES,
        "peer": {found["peer"]: spellings(found["peer"])},
    }
    for name, column in COLUMNS.items():
        if (value := found[name]) not in ("", None):
            yield Term(column, several.get(name, {}).get(value, (value,)))
    if found["spot"]:
        chain, sequence = found["spot"]
        yield from (Term("chain", (chain,)), Term("sequence", (sequence,)))


def read_query(query: str) -> FilterForm:
    """From the part of an address behind the question mark."""
    return FilterForm(QueryDict(query))
