"""Streamed text: reassembled = sent less the removed control characters (contract §1, promise 17)."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.sanitise import NOTHING, Assembly, Sanitised, sanitise
from providers.types import Delta, Event, ToolCallDelta

CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
CHARACTERS = st.sampled_from(
    [
        *"ab \t\r\n",
        "\0",
        "\x08",
        "\x0b",
        "\x1f",
        "\x7f",
        "\x85",
        "\u2028",
        "\u202e",
        "e\u0301",
        "🙂",
        "\U0010ffff",
    ]
)
TEXTS = st.lists(CHARACTERS, max_size=60).map("".join) | st.text(st.characters(exclude_categories=["Cs"]))


def cleaned(text: str, chunk_chars: int = 4000) -> Sanitised:
    return sanitise(Event(delta=Delta(content=text)), chunk_chars)


def contents(result: Sanitised) -> list[str | None]:
    return [delta.content for delta in result.deltas]


def is_binary(text: str) -> bool:
    """At least one control character, and one in five or more."""
    removed = len(CONTROL.findall(text))
    return removed > 0 and removed * 5 >= len(text)


@given(TEXTS, st.integers(1, 20))
def test_all_text_arrives_in_order_less_the_control_characters(text: str, chunk_chars: int) -> None:
    result = cleaned(text, chunk_chars)
    if is_binary(text):
        assert result == Sanitised((), dropped=1)
        return
    clean = CONTROL.sub("", text)
    assert "".join(delta.content or "" for delta in result.deltas) == clean
    assert all(len(delta.content or "") <= chunk_chars for delta in result.deltas)
    # Only the last piece may be short, and none is cut within a character.
    assert all(len(delta.content or "") == chunk_chars for delta in result.deltas[:-1])
    assert all((delta.content or "").encode() is not None for delta in result.deltas)
    assert (result.removed, result.dropped) == (int(clean != text), 0)
    assert result.split == int(len(clean) > chunk_chars) == int(len(result.deltas) > 1)


@given(st.lists(TEXTS, max_size=10), st.integers(1, 8))
def test_a_whole_stream_is_put_together_again(texts: list[str], chunk_chars: int) -> None:
    assembly = Assembly()
    for text in texts:
        for delta in cleaned(text, chunk_chars).deltas:
            assembly.add(delta)
    assert assembly.content == "".join(CONTROL.sub("", text) for text in texts if not is_binary(text))


@pytest.mark.parametrize("code", [*range(0x20), 0x7F, 0x80, 0x9F, 0x2028, 0x202E, 0xFEFF])
def test_exactly_the_contract_s_characters_are_removed(code: int) -> None:
    removed = code <= 0x08 or code in (0x0B, 0x0C, 0x7F) or 0x0E <= code <= 0x1F
    result = cleaned(f"abc{chr(code)}defg")
    assert contents(result) == ["abcdefg" if removed else f"abc{chr(code)}defg"]
    assert result.removed == int(removed)


@pytest.mark.parametrize(
    ("controls", "text", "dropped"),
    [(1, 4, True), (1, 5, False), (2, 8, True), (2, 9, False), (20, 80, True), (19, 80, False), (1, 0, True)],
)
def test_an_event_of_a_fifth_control_characters_is_dropped(controls: int, text: int, dropped: bool) -> None:
    result = cleaned("\x00" * controls + "x" * text)
    assert (result.dropped, result.removed) == (int(dropped), int(not dropped))
    assert contents(result) == ([] if dropped else ["x" * text])


def test_what_is_clean_passes_as_it_is() -> None:
    for delta in (
        Delta(content="hello"),
        Delta(role="assistant", content=""),
        Delta(role="assistant"),
        Delta(),
    ):
        result = sanitise(Event(delta=delta), 4000)
        assert result.deltas[0] is delta
        assert result == Sanitised((delta,))


def test_events_without_text_give_nothing_and_garbled_ones_count_as_dropped() -> None:
    assert sanitise(Event(done=True, finish_reason="stop"), 4000) is NOTHING
    assert sanitise(Event(garbled=True, delta=Delta(content="x")), 4000) == Sanitised((), dropped=1)


def test_role_goes_with_the_first_piece_and_tool_calls_come_after_the_text() -> None:
    calls = (ToolCallDelta(index=0, id="t", name="f", arguments='{"a'),)
    event = Event(delta=Delta(role="assistant", content="abcdef\x00", tool_calls=calls))
    assert sanitise(event, 3) == Sanitised(
        (Delta(role="assistant", content="abc"), Delta(content="def"), Delta(tool_calls=calls)),
        removed=1,
        split=1,
    )


def test_long_arguments_are_split_and_arrive_whole() -> None:
    calls = (
        ToolCallDelta(index=0, id="a", name="f", arguments="x" * 7 + "\n\t\u2028"),
        ToolCallDelta(index=1, id="b", name="g", arguments="{}"),
    )
    result = sanitise(Event(delta=Delta(role="assistant", tool_calls=calls)), 4)
    assert (result.removed, result.split, len(result.deltas)) == (0, 1, 3)
    assert result.deltas[0].role == "assistant"
    assert all(len(call.arguments or "") <= 4 for delta in result.deltas for call in delta.tool_calls)
    assembly = Assembly()
    for delta in result.deltas:
        assembly.add(delta)
    assert assembly.tool_calls() == [("a", "f", "x" * 7 + "\n\t\u2028"), ("b", "g", "{}")]


def test_names_and_ids_of_tool_calls_are_text_too() -> None:
    dirty = ToolCallDelta(index=0, id="c\x00all", name="wea\x1bther", arguments="{}")
    result = sanitise(Event(delta=Delta(tool_calls=(dirty,))), 4000)
    clean = ToolCallDelta(index=0, id="call", name="weather", arguments="{}")
    assert result == Sanitised((Delta(tool_calls=(clean,)),), removed=1)
    mostly = ToolCallDelta(index=0, arguments="a\x00\x01\x02b")
    assert sanitise(Event(delta=Delta(tool_calls=(mostly,))), 4000) == Sanitised((), dropped=1)


@pytest.mark.parametrize("content", [None, "text", "te\nxt"])
def test_control_characters_in_a_tool_call_s_arguments_are_removed_and_counted(content: str | None) -> None:
    dirty = (ToolCallDelta(index=0, arguments='{"a\x00":'), ToolCallDelta(index=1, name="g"))
    clean = (ToolCallDelta(index=0, arguments='{"a":'), ToolCallDelta(index=1, name="g", arguments=None))
    result = sanitise(Event(delta=Delta(content=content, tool_calls=dirty)), 4000)
    assert result == Sanitised((Delta(content=content, tool_calls=clean),), removed=1)


def test_tool_calls_are_put_together_by_their_index() -> None:
    assembly = Assembly()
    for call in (
        ToolCallDelta(index=1, id="b", name="second"),
        ToolCallDelta(index=0, id="a", name="fir"),
        ToolCallDelta(index=0, id="ignored", name="st", arguments='{"x"'),
        ToolCallDelta(index=1, arguments="{}"),
        ToolCallDelta(index=0, arguments=":1}"),
    ):
        assembly.add(Delta(tool_calls=(call,)))
    assert assembly.tool_calls() == [("a", "first", '{"x":1}'), ("b", "second", "{}")]
    assert assembly.content == ""


def test_arguments_in_very_many_pieces_cost_no_more_than_their_length() -> None:
    assembly, pieces = Assembly(), 250_000
    delta = Delta(tool_calls=(ToolCallDelta(index=0, id="a", name="f", arguments="abcd"),))
    began = time.monotonic()
    for _ in range(pieces):
        assembly.add(delta)
    ((_, _, arguments),) = assembly.tool_calls()
    seconds = time.monotonic() - began
    print(f"a call of {pieces} pieces was put together in {seconds * 1000:.0f} ms")
    assert len(arguments) == 4 * pieces
    assert seconds < 2
