"""Why a filter may have found nothing: what a person could have meant by a value that no call has."""

import re
from typing import Any

from telemetry.known_clients import doubt_about

OF_32_DIGITS = re.compile(r"[0-9a-f]{32}", re.ASCII)


def hints(found: dict[str, Any]) -> list[str]:
    """`found`: the cleaned values of the filter. Asks the database, so only where the list is empty."""
    told = []
    if doubt := doubt_about(found["client"]):
        told.append(doubt)
    if found["provider"]:
        told.append(
            "“Provider asked last” leaves out the calls that went on to another provider afterwards: "
            "“Provider asked at all” finds them too."
        )
    if OF_32_DIGITS.fullmatch(found["trace"]):
        told.append(
            "No call has this id. The trace of a traceparent (W3C) is not found here: it lies within the decision. "
            "An export as JSON Lines can be searched for it."
        )
    return told
