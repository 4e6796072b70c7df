"""W3C `traceparent`: strict in what it takes, and passed on as it came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.traceparent import begin, read

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01".encode()


def test_a_good_header_goes_on_as_it_came() -> None:
    for value in (GOOD, GOOD[:-1] + b"0", b" " + GOOD + b"\t"):
        found = read([value])
        assert found is not None
        assert found.header("") == value.strip().decode()
        assert found.sampled == value.strip().endswith(b"1")


def test_only_the_flag_that_is_known_goes_on() -> None:
    found = read([GOOD[:-2] + b"ff"])
    assert found is not None
    assert found.header("") == GOOD.decode()


def test_of_a_later_version_the_known_part_is_taken() -> None:
    for value in (b"01" + GOOD[2:], b"cc" + GOOD[2:] + b"-what-comes-later"):
        found = read([value])
        assert found is not None
        assert found.header("") == GOOD.decode()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        GOOD.upper(),
        GOOD[:-1],
        GOOD + b"0",
        GOOD + b"-more",
        b"01" + GOOD[2:] + b"more",
        b"ff" + GOOD[2:],
        f"00-{'0' * 32}-{SPAN}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"00-{TRACE[:-1]}g-{SPAN}-01".encode(),
        f"00_{TRACE}-{SPAN}-01".encode(),
        GOOD + b"\n",
        GOOD + b"\r\nX-Evil: 1",
        b"01" + GOOD[2:] + b"-" + b"x" * 600,
        "00-٤bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".encode(),
    ],
)
def test_any_other_header_is_as_none(value: bytes) -> None:
    assert read([value]) is None


def test_two_headers_are_as_none() -> None:
    assert read([GOOD, GOOD]) is None
    assert read([]) is None


@given(st.binary(max_size=80))
def test_whatever_comes_nothing_but_a_header_goes_on(value: bytes) -> None:
    found = read([value])
    assert found is None or read([found.header("").encode()]) is not None


def test_an_exported_call_is_a_span_of_the_client_s_trace_or_the_first_of_a_new_one() -> None:
    within, first = begin([GOOD]), begin([b"nonsense"])
    assert (within.trace_id, within.parent) == (TRACE, SPAN)
    assert first.parent == ""
    assert first.trace_id != begin([]).trace_id
    for trace in (within, first):
        assert read([trace.header("00f067aa0ba902b8").encode()]) is not None
        assert len(trace.span) == 16
