"""Questions in a terminal: a line asked, a numbered choice, a field. Everything goes over three functions given in."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from gateway.assistant.fields import Field
from gateway.assistant.typed import show

WIDTH = 78
MAX_KEPT = 50
BACK, HELP, EMPTY = "<", "?", "-"


class Back(Exception):
    """The person wants out of this form; what was typed in it is dropped."""


class Console:
    """`ask(prompt)` and `ask_secret(prompt)` return a line, and raise `EOFError` or `KeyboardInterrupt` when the
    person leaves; `say(line)` shows one."""

    def __init__(
        self, ask: Callable[[str], str], ask_secret: Callable[[str], str], say: Callable[[str], None]
    ) -> None:
        self._ask, self._ask_secret, self._say = ask, ask_secret, say

    def say(self, text: str = "", indent: str = "") -> None:
        """Wrapped for 80 columns. What stored texts may hold for a terminal, such as colours, is not passed on."""
        clean = "".join(character if character.isprintable() else "\ufffd" for character in text)
        wrapped = textwrap.wrap(
            clean,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for line in wrapped or [""]:
            self._say(line)

    def line(self, prompt: str) -> str:
        """Raises `Back`."""
        return self._line(self._ask, prompt)

    def secret(self, prompt: str) -> str:
        """Typed without being shown. Raises `Back`."""
        return self._line(self._ask_secret, prompt)

    def _line(self, ask: Callable[[str], str], prompt: str) -> str:
        while True:
            typed = ask(prompt).strip()
            if typed == BACK:
                raise Back
            if typed.isprintable():
                return typed
            self.say("That holds characters that cannot be shown; type it without them.", indent="  ")

    def confirm(self, question: str, *, default: bool = False) -> bool:
        while True:
            typed = self.line(f"{question} [{'Y/n' if default else 'y/N'}]: ").lower()
            if typed in ("", "y", "yes", "n", "no"):
                return default if typed == "" else typed.startswith("y")
            self.say(f"Type y or n; Enter alone means {'yes' if default else 'no'}, {BACK} goes back.")

    def choose(
        self, prompt: str, options: Sequence[str], *, default: int | None = None, enter: str = "back"
    ) -> int | None:
        """The index of the option chosen by number or by how its text begins. Enter alone is the default, or else None,
        which `enter` tells the meaning of. Raises `Back`."""
        for n, option in enumerate(options, 1):
            self.say(f"{n:>3}  {option}")
        shown = enter if default is None else str(default + 1)
        while True:
            typed = self.line(f"{prompt} [{shown}]: ")
            if not typed:
                return default
            if typed == HELP:
                self.say(
                    f"Type the number of a line above, or how its text begins. Enter alone: {shown}.",
                    indent="  ",
                )
                continue
            if (found := position(typed, options)) is not None:
                return found
            self.say(f"Type a number from 1 to {len(options)}.", indent="  ")

    def pick(self, prompt: str, options: Sequence[str]) -> int:
        """As `choose`, where Enter alone goes back. Raises `Back`."""
        chosen = self.choose(prompt, options)
        if chosen is None:
            raise Back
        return chosen

    def field(self, field: Field, current: Any, problems: Callable[[Any], Sequence[str]]) -> Any:
        """The value typed, or `current`; None for a field left empty. `problems` tells what is wrong with one.

        Raises `Back`.
        """
        if field.choices:
            self._list(field.choices)
        while True:
            typed = self.line(f"{field.label}{bracketed(show(current) or field.empty)}: ")
            if typed == HELP:
                self.say(field.help, indent="  ")
                continue
            try:
                value = self._value(field, typed, current)
            except ValueError as error:
                self.say(str(error), indent="  ")
                continue
            if value is None and field.needed:
                self.say(f"This is needed. {HELP} explains it, {BACK} goes back.", indent="  ")
            elif not (found := problems(value)):
                return value
            else:
                for problem in found:
                    self.say(problem, indent="  ")

    def _list(self, choices: Sequence[str]) -> None:
        """In one line where they fit."""
        numbered = [f"{n} {name}" for n, name in enumerate(choices, 1)]
        short = sum(len(item) + 2 for item in numbered) <= WIDTH
        for line in ["  ".join(numbered)] if short else numbered:
            self.say(line, indent="  ")

    def _value(self, field: Field, typed: str, current: Any) -> Any:
        if typed == "":
            return current
        if typed == EMPTY:
            return None
        value = field.read(typed)
        if field.choices and isinstance(value, list):
            return list(dict.fromkeys(_named(item, field.choices) for item in value))
        return _named(value, field.choices) if field.choices else value


def bracketed(text: str) -> str:
    """What Enter keeps. Nothing where there is nothing to keep."""
    return f" [{shortened(text)}]" if text else ""


def shortened(text: str) -> str:
    return text if len(text) <= MAX_KEPT else text[: MAX_KEPT - 1] + "…"


def _named(typed: str, choices: Sequence[str]) -> str:
    """The choice of that number; any text as it is, for the checks of an import to judge. Raises `ValueError` for a
    number that no choice has."""
    if typed in choices or not (typed.isascii() and typed.isdigit()):
        return typed
    if not 1 <= int(typed) <= len(choices):
        raise ValueError(f"Type a number from 1 to {len(choices)}, or a name.")
    return choices[int(typed) - 1]


def position(typed: str, options: Sequence[str]) -> int | None:
    """The option of that number, of that text, or the only one that begins with it."""
    if typed.isdigit() and 1 <= int(typed) <= len(options):
        return int(typed) - 1
    lowered = [option.lower() for option in options]
    if typed.lower() in lowered:
        return lowered.index(typed.lower())
    beginning = [n for n, option in enumerate(lowered) if option.startswith(typed.lower())]
    return beginning[0] if len(beginning) == 1 else None
