"""The record as JSON Lines and as CSV, in the order of the chain, however long it is: never more than a chunk of it
in memory. An iterator of bytes each."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
from django.db.models import Max, Min

from telemetry.audit import reader
from telemetry.audit.canonical import Row, canonical, stamp
from telemetry.audit.selection import Selection
from telemetry.models import RequestLog

FIELDS = msgspec.structs.fields(Row)
NAMES = tuple(field.encode_name for field in FIELDS)
UNSEEN = r"\s\x00-\x1f\x7f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
SIGNS = r"=+\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b"
SEPARATORS = r";|\t\r\n"
FORMULA = re.compile(rf"""['"{UNSEEN}]*[\t\r\n{SIGNS}]""")
"""What a spreadsheet may take for the start of a formula (OWASP, CSV injection): `= + - @`, also full in width or
small, and behind blanks and marks that nobody sees, or quotes; and TAB, CR, LF."""
BEFORE_A_SIGN = re.compile(rf"""(?<!['"{UNSEEN}{SEPARATORS}])['"{UNSEEN}{SEPARATORS}]++(?=[{SIGNS}])""")
SEPARATOR = re.compile(f"[{SEPARATORS}]")
"""Where another cell begins for a spreadsheet that divides by other signs than commas: whatever is quoted, it reads a
quote as one only at the beginning of what it takes for a cell."""
CHUNK_BYTES = 64 * 1024


class Tally:
    """`rows`: how many were made into lines so far."""

    rows = 0

    def over(self, selection: Selection) -> Iterator[tuple[Row, str]]:
        for found in selected(selection):
            self.rows += 1
            yield found


def json_lines(selection: Selection, tally: Tally | None = None) -> Iterator[bytes]:
    """Each line is a row's canonical JSON, with its `hash` as last member."""
    rows = (tally or Tally()).over(selection)
    return chunked(with_hash(canonical(row), claimed) for row, claimed in rows)


def with_hash(body: bytes, claimed: str) -> bytes:
    return b'%b,"hash":"%b"}\n' % (body[:-1], claimed.encode())


def comma_separated(selection: Selection, tally: Tally | None = None) -> Iterator[bytes]:
    """For spreadsheets: every field is a column, every cell is quoted, and none begins as a formula does, however the
    lines are divided."""
    buffer = io.StringIO(newline="")
    table = csv.writer(buffer, quoting=csv.QUOTE_ALL)

    def line(cells: list[Any]) -> bytes:
        table.writerow(cells)
        text = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return text.encode()

    def lines() -> Iterator[bytes]:
        yield line([*NAMES, "hash"])
        for row, claimed in (tally or Tally()).over(selection):
            yield line([cell(getattr(row, field.name)) for field in FIELDS] + [cell(claimed)])

    return chunked(lines())


def cell(value: Any) -> Any:
    """What a spreadsheet would take for a formula gets an apostrophe before it, at the beginning of a text and behind
    each separator in it. A text is found again by taking these away: none is left out where one stood already."""
    if isinstance(value, list | dict):
        value = canonical(value).decode() if value else ""
    if isinstance(value, str):
        guarded = BEFORE_A_SIGN.sub(lambda run: SEPARATOR.sub(r"\g<0>'", run[0]), value)
        return "'" + guarded if FORMULA.match(value) else guarded
    return "" if value is None else value


def selected(selection: Selection) -> Iterator[tuple[Row, str]]:
    """Rows as they are hashed, with the hash each claims."""
    wanted = matching(selection)
    for chain, first, last in ranges(selection):
        for row, claimed in reader.rows(chain, after=first - 1, until=last):
            if wanted(row):
                yield row, claimed


def ranges(selection: Selection) -> list[tuple[str, int, int]]:
    """Chain, first and last sequence number of what was selected, in the order the chains began."""
    found = (
        RequestLog.objects.filter(selection.where(), sequence__lte=reader.LARGEST)
        .exclude(chain="")
        .order_by()
    )
    ends = found.values("chain").annotate(first=Min("sequence"), last=Max("sequence"), began=Min("id"))
    return [(each["chain"], each["first"], each["last"]) for each in ends.order_by("began")]


def lacks_its_call(selection: Selection) -> bool:
    """Whether one call was asked for, and is not there."""
    return bool(selection.call_id) and not RequestLog.objects.filter(selection.where()).exists()


def matching(selection: Selection) -> Callable[[Row], bool]:
    """Times compare as texts: they are all of one length and zone."""
    since = stamp(selection.since) if selection.since else ""
    until = stamp(selection.until) if selection.until else "9999"
    tool_id, call_id = selection.tool_id, selection.call_id

    def matches(row: Row) -> bool:
        return (
            since <= row.started_at < until
            and (not tool_id or row.tool_id == tool_id)
            and (not call_id or row.call_id == call_id)
        )

    return matches


def chunked(lines: Iterator[bytes]) -> Iterator[bytes]:
    gathered, size = [], 0
    for line in lines:
        gathered.append(line)
        size += len(line)
        if size >= CHUNK_BYTES:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
