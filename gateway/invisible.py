"""Characters that make a name look like another: they have no width, or turn the direction of what follows. Pure.

https://www.unicode.org/reports/tr36/#Bidirectional_Text_Spoofing
"""

import re

_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")


def complaint(name: str) -> str:
    """A sentence; "" for a name without them."""
    found = dict.fromkeys(f"U+{ord(character):04X}" for character in _INVISIBLE.findall(name))
    if not found:
        return ""
    return (
        f"The name holds characters that nobody sees and that make it look like another: {', '.join(found)}"
    )
