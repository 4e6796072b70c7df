"""What an import of `client-registry.json` would refuse, for the forms. Whoever reads the files says how to ask."""

from collections.abc import Callable, Mapping
from typing import Any

from django import forms

Refuse = Callable[[forms.BaseForm, Mapping[str, Any], Mapping[str, str]], None]

_refuse: Refuse | None = None


def refuse_by(refuse: Refuse) -> None:
    """Called once at start."""
    global _refuse
    _refuse = refuse


def refuse(form: forms.BaseForm, document: Mapping[str, Any], places: Mapping[str, str]) -> None:
    """Adds to the form what an import of the document would refuse. `places`: JSON pointer → the form's field."""
    assert _refuse is not None, "told at start"
    _refuse(form, document, places)
