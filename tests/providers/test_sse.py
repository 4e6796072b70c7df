"""Server-sent events, however the bytes arrive: what was put in comes out (WHATWG HTML, "Event streams")."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.errors import UpstreamError
from providers.sse import SseParser

Events = list[tuple[str, bytes]]
LINE_ENDS = (b"\n", b"\r", b"\r\n")
BOM = b"\xef\xbb\xbf"
# Characters at which text methods split lines and at which an event stream does not.
TEARING = "\u2028\u2029\u0085\x00\x0b\x0c\x1c\x1e"

_text = st.text(st.one_of(st.sampled_from(TEARING), st.characters(codec="utf-8", exclude_characters="\r\n")))
_noise = st.sampled_from(
    [b": comment", b":", b"id: 7", b"retry: 1000", b"unknown", b"data-like: x", b"DATA: x"]
)
_space = st.sampled_from([b" ", b""])


def parsed(*chunks: bytes) -> Events:
    parser = SseParser()
    events = [event for chunk in chunks for event in parser.feed(chunk)]
    return events + parser.end()


@st.composite
def _streams(draw: st.DrawFn) -> tuple[bytes, Events]:
    """The bytes of a stream, and the events that are in it."""
    lines: list[bytes] = []
    expected: Events = []
    for _ in range(draw(st.integers(0, 4))):
        name, data = draw(st.one_of(st.none(), _text)), draw(st.lists(_text, max_size=3))
        fields = [(b"event", name)] if name is not None else []
        fields += [(b"data", line) for line in data]
        for field, value in fields:
            lines += draw(st.lists(_noise, max_size=2))
            gap = b" " if value.startswith(" ") else draw(_space)
            lines.append(field + b":" + gap + value.encode())
        lines.append(b"")
        if data:
            expected.append((name or "", "\n".join(data).encode()))
    return draw(st.sampled_from([b"", BOM])) + _ended(draw, lines), expected


def _ended(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """Each line with an end of its own choice; CR and then LF would be one end, not two."""
    stream = b""
    for line in lines:
        end = draw(st.sampled_from(LINE_ENDS))
        stream += line + (b"\r\n" if not line and stream.endswith(b"\r") else end)
    return stream


@given(_streams(), st.lists(st.integers(0, 400), max_size=4))
def test_a_stream_says_the_same_wherever_it_is_cut(stream: tuple[bytes, Events], cuts: list[int]) -> None:
    raw, expected = stream
    edges = [0, *sorted(cuts), len(raw)]
    assert parsed(raw) == expected
    assert parsed(*(raw[a:b] for a, b in pairwise(edges))) == expected
    assert parsed(*(raw[n : n + 1] for n in range(len(raw)))) == expected


@given(st.binary(max_size=60), st.integers(0, 60))
def test_no_bytes_at_all_make_it_fail_or_depend_on_the_cut(raw: bytes, cut: int) -> None:
    assert parsed(raw[:cut], raw[cut:]) == parsed(raw)


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert parsed(b"data:  two\ndata:\tnone\ndata:\ndata\n\n") == [("", b" two\n\tnone\n\n")]


def test_an_event_without_data_is_none_and_its_name_is_forgotten() -> None:
    assert parsed(b"event: ping\n\ndata: x\n\n") == [("", b"x")]


def test_an_event_that_was_not_finished_is_dropped() -> None:
    assert parsed(b"data: whole\n\ndata: cut off\n") == [("", b"whole")]


def test_a_byte_order_mark_is_dropped_at_the_start_only() -> None:
    assert parsed(BOM + b"data: a\n\n" + BOM + b"data: b\n\ndata: " + BOM + b"\n\n") == [
        ("", b"a"),
        ("", BOM),
    ]


def test_a_name_that_is_not_utf_8_does_not_raise() -> None:
    assert parsed(b"event: \xff\ndata: x\n\n") == [("\ufffd", b"x")]


def test_a_carriage_return_at_the_very_end_was_a_line_end() -> None:
    parser = SseParser()
    assert parser.feed(b"data: x\r\r") == [], "the second may be the first half of CRLF"
    assert parser.end() == [("", b"x")]
    assert parser.end() == []


def test_a_carriage_return_held_back_meets_its_line_feed() -> None:
    parser = SseParser()
    assert parser.feed(b"data: x\r\n\r") == []
    assert parser.feed(b"\ndata: y\r\n\r\n") == [("", b"x"), ("", b"y")]
    assert parser.end() == []


@pytest.mark.parametrize(
    "piece",
    [
        b"data: " + b"x" * 2000 + b"\n\n",
        b"data: " + b"x" * 2000,
        b": " + b"x" * 2000,
        b"data: xxxxxxxx\n" * 200,
        b"data:\n" * 2000,
        b"data\r" * 2000,
    ],
    ids=["whole", "endless line", "endless comment", "many lines", "many empty lines", "many bare lines"],
)
@pytest.mark.parametrize("size", [1, 7, 100_000], ids=["bytewise", "in sevens", "at once"])
def test_an_event_over_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch, piece: bytes, size: int) -> None:
    monkeypatch.setattr("providers.sse.MAX_EVENT_BYTES", 1000)
    with pytest.raises(UpstreamError) as error:
        parsed(*(piece[n : n + size] for n in range(0, len(piece), size)))
    assert (error.value.classification, error.value.reason) == ("TEMPORARY", "UPSTREAM_OVERSIZED")


def test_the_cap_is_on_one_event_and_not_on_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("providers.sse.MAX_EVENT_BYTES", 1000)
    assert len(parsed(b"data: xxxxxxxx\n\n" * 1000)) == 1000
