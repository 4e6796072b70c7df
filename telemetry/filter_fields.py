"""Fields of the record's filter: what people type, and what is said of what cannot be meant."""

import re
import socket
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any

from django import forms

from telemetry.audit.reader import LARGEST

SPOT = re.compile(r"(?:^|chain )\s*(\S{1,32}) ?#([0-9]{1,19})(?=$|[: ])")


class MomentField(forms.DateTimeField):
    default_error_messages = {"invalid": "Write a date and time as 2026-01-31 13:45, or the date alone."}

    def to_python(self, value: Any) -> datetime | None:
        try:
            moment = super().to_python(value)
            return moment.astimezone(UTC) if moment else None
        except (OverflowError, ValueError):
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid") from None


def moment(label: str) -> MomentField:
    places = {"placeholder": "2026-01-31 13:45", "size": 19, "autocomplete": "off"}
    return MomentField(label=label, required=False, widget=forms.TextInput(attrs=places))


def whole(label: str, width: int, *, strip: bool = True) -> forms.CharField:
    """`strip`: false where clients choose the text, and a blank at an end may be part of it."""
    look = forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "size": 20})
    return forms.CharField(label=label, required=False, max_length=width, widget=look, strip=strip)


def _typed() -> forms.TextInput:
    return forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "size": 20})


class PeerField(forms.CharField):
    """One whole address."""

    default_error_messages = {
        "network": "The filter takes one address, no network.",
        "invalid": "Write a whole address, as 192.0.2.7 or 2001:db8::7.",
    }

    def __init__(self, label: str) -> None:
        super().__init__(label=label, required=False, max_length=64, widget=_typed())

    def clean(self, value: Any) -> str:
        text = super().clean(value)
        try:
            spellings(text)
        except ValueError:
            said = "network" if "/" in text else "invalid"
            raise forms.ValidationError(self.error_messages[said], code=said) from None
        return text


def spellings(address: str) -> tuple[str, ...]:
    """As it was typed, and as systems and proxies write it; they differ in version 6. "" has none.

    Raises `ValueError` for what is no address.
    """
    if not address:
        return ()
    found = ip_address(address)
    system = socket.inet_ntop(socket.AF_INET if found.version == 4 else socket.AF_INET6, found.packed)
    return tuple(dict.fromkeys((address, str(found), system)))


class SpotField(forms.CharField):
    """Chain and sequence number, or a whole finding that names them; None where it is empty."""

    default_error_messages = {
        "invalid": "Write the chain and the number as a finding does: d8d87523347d25dc #4206."
    }

    def __init__(self, label: str) -> None:
        super().__init__(label=label, required=False, max_length=400, widget=_typed())
        self.widget.attrs["placeholder"] = "d8d87523347d25dc #4206"

    def clean(self, value: Any) -> tuple[str, int] | None:
        text = super().clean(value)
        found = SPOT.search(text)
        if not text:
            return None
        if found is None or int(found[2]) > LARGEST:
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")
        return found[1], int(found[2])
