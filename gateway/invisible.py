"""Characters that make a name look like another: they have no width, or turn the direction of what follows. Pure.

https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_HIDING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp", "Zs"})
"""Unicode categories: controls, formats, halves of pairs, and blanks of all kinds."""
_EMPTY_LETTERS = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
"""What no category tells: fillers, and marks that only choose how another character is drawn."""
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


class Part(NamedTuple):
    """Of a text. `hidden`: a character that nobody sees, written as an escape."""

    text: str
    hidden: bool = False


def parts(text: str) -> Iterator[Part]:
    """The text in order. A blank between two words is no hidden character; one at an end is."""
    shown = ""
    for at, character in enumerate(text):
        if not _is_hidden(character, at in (0, len(text) - 1)):
            shown += character
            continue
        if shown:
            yield Part(shown)
        yield Part(_escape(character), hidden=True)
        shown = ""
    if shown:
        yield Part(shown)


def _is_hidden(character: str, at_an_end: bool) -> bool:
    if character == " ":
        return at_an_end
    return unicodedata.category(character) in _HIDING or _EMPTY_LETTERS.match(character) is not None


def _escape(character: str) -> str:
    number = ord(character)
    return _SHORT.get(character) or (f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}")


def complaint(name: str) -> str:
    """A sentence; "" for a name without them."""
    found = dict.fromkeys(f"U+{ord(character):04X}" for character in _INVISIBLE.findall(name))
    if not found:
        return ""
    return (
        f"The name holds characters that nobody sees and that make it look like another: {', '.join(found)}"
    )
