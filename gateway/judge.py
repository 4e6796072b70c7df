"""What an import would say of something that is about to be kept: for the forms of the admin and the assistant.

The rules are those of the files and live with them; here they are only asked, and put into words for a form.
"""

import json
from collections.abc import Mapping
from typing import Any

from django import forms

from gateway.configfile import read_contents
from gateway.reading import Content, FileProblem, ImportRefused


def problems_of(name: str, document: Mapping[str, Any]) -> tuple[FileProblem, ...]:
    """Of a document of the file `name` that is merged into what there is."""
    try:
        read_contents([Content(name, "", json.dumps(document).encode())], merge=True)
    except ImportRefused as refused:
        return refused.problems
    return ()


def refuse(form: forms.BaseForm, name: str, document: Mapping[str, Any], places: Mapping[str, str]) -> None:
    """Adds to the form what an import of the document would refuse. A field that is refused already stays so.

    `places`: JSON pointer → the field that says it, and all below it.
    """
    for problem in problems_of(name, document):
        field = _field(problem.pointer, places)
        if field not in form.errors:
            form.add_error(field if field in form.fields else None, plain(problem.message))


def _field(pointer: str, places: Mapping[str, str]) -> str | None:
    above = [place for place in places if pointer == place or pointer.startswith(f"{place}/")]
    return places[max(above, key=len)] if above else None


def plain(message: str) -> str:
    """As a form says it: with a full stop."""
    return message if message.endswith(".") else f"{message}."
