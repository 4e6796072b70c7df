"""From the findings of a verification, which are kept in words, to the calls that they name."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from django.db.models import Q
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode

from telemetry.audit.reader import LARGEST
from telemetry.models import RequestLog

FINDING = re.compile(r"(cut off|\S+)\s+chain (.+?) #([0-9]{1,19}): ")
BESIDE = re.compile(r"the row with call id ([0-9a-f-]{36}) was put in beside the chain")
OF_CHECKPOINTS = frozenset({"checkpoint", "copy", "restored"})
"""Kinds of finding whose number is that of a checkpoint."""


class Place(NamedTuple):
    chain: str
    sequence: int


def place_in(finding: str) -> Place | None:
    """Of the row that it is about; None where it is about none."""
    found = FINDING.match(finding)
    if found is None or found[1] in OF_CHECKPOINTS or not 0 < int(found[3]) <= LARGEST:
        return None
    return Place(found[2], int(found[3]))


def calls_at(places: Iterable[Place]) -> dict[Place, int]:
    """The key of each row that is there. One query, by the index of chain and sequence."""
    chains: dict[str, set[int]] = {}
    for place in places:
        chains.setdefault(place.chain, set()).add(place.sequence)
    if not chains:
        return {}
    wanted = Q()
    for chain, numbers in chains.items():
        wanted |= Q(chain=chain, sequence__in=numbers)
    rows = RequestLog.objects.filter(wanted).order_by()
    return {Place(chain, number): key for chain, number, key in rows.values_list("chain", "sequence", "pk")}


def linked(findings: list[object], record: str) -> str:
    """As a list for a page; `record`: the address of the record's list. What has a call on record leads to it."""
    texts = [str(finding) for finding in findings]
    keys = calls_at(place for text in texts if (place := place_in(text)))
    lines = []
    for text in texts:
        place, beside = place_in(text), BESIDE.search(text)
        to = f"{record}{keys[place]}/change/" if place in keys else ""
        if beside is not None:
            to = f"{record}?{urlencode({'trace': beside[1]})}"
        lines.append((text, format_html(' <a href="{}">the call</a>', to) if to else ""))
    return format_html('<ul class="findings">{}</ul>', format_html_join("", "<li>{}{}</li>", lines))
