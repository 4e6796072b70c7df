"""Numbers in the admin's forms are typed as text, and the server says what is no number.

A browser sends nothing at all for what it cannot read in a field of the type number, such as `9-5`: the value that
was stored would be gone, and an empty limit is no limit.
"""

from typing import Any

from django import forms
from django.db.models import DecimalField, Field, FloatField, IntegerField
from django.http import HttpRequest
from django.utils.text import capfirst


class PlainNumbersAdmin:
    """Before any admin with a form."""

    def formfield_for_dbfield(self: Any, db_field: Field, request: HttpRequest, **more: Any) -> Any:
        if isinstance(db_field, IntegerField | FloatField | DecimalField) and not db_field.choices:
            whole = isinstance(db_field, IntegerField)
            label = more.get("label") or capfirst(db_field.verbose_name)
            look = {
                "inputmode": "numeric" if whole else "decimal",
                "class": "vIntegerField",
                "autocomplete": "off",
            }
            more.setdefault("widget", forms.TextInput(attrs=look))
            said = "a whole number in digits, such as 500" if whole else "a number, such as 90 or 1.5"
            more["error_messages"] = {"invalid": f"{label} is {said}."} | (more.get("error_messages") or {})
        return super().formfield_for_dbfield(db_field, request, **more)  # type: ignore[misc]
