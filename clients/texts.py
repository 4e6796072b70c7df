"""Texts of several lines, as a browser sends them back."""


def unless_untouched(typed: str | None, before: str | None) -> str | None:
    """`before` itself where a text area made only other line ends and blanks of it. None for nothing at all."""
    text = (typed or "").replace("\r\n", "\n")
    return before if text == (before or "").replace("\r\n", "\n").strip() else text or None
