"""One entry being filled in or changed: the needed fields one after the other, then any field by its number."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from gateway.assistant.checking import below, told
from gateway.assistant.draft import Json
from gateway.assistant.fields import Field, get, put
from gateway.assistant.prompts import Back, Console, shortened
from gateway.assistant.typed import show


class EntryForm(ABC):
    """`entry` changes as fields are answered; the draft does not before `finish`ed."""

    def __init__(self, console: Console, entry: Json) -> None:
        self.console, self.entry = console, entry

    @abstractmethod
    def fields(self) -> Sequence[Field]:
        """Those that can be changed by their number, in that order."""

    @abstractmethod
    def problems(self, entry: Json) -> list[tuple[str, str]]:
        """What an import would say of the entry: pointer and sentence."""

    def extra(self) -> list[tuple[str, str]]:
        """Label and value of rows that are no fields of the entry."""
        return []

    def change_extra(self, number: int) -> None:
        """The row of `extra` with that number was chosen. Raises `IndexError` where there are no such rows."""
        raise IndexError(number)

    def ask(self, field: Field) -> None:
        def wrong(value: Any) -> list[str]:
            return below(self.problems(put(self.entry, field, value)), field.pointer)

        value = self.console.field(field, get(self.entry, field), wrong)
        self.entry = put(self.entry, field, value)

    def finish(self, title: str) -> None:
        """Until Enter is pressed and the whole entry is good. Raises `Back`."""
        while True:
            fields, extra = self.fields(), self.extra()
            rows = [(field.label, show(get(self.entry, field)) or field.empty) for field in fields] + extra
            self.console.say()
            self.console.say(title)
            chosen = self.console.choose(
                "Change which? < drops all",
                [f"{label:<20} {shortened(value)}".rstrip() for label, value in rows],
                enter="done",
            )
            if chosen is None:
                if not (found := told(self.problems(self.entry))):
                    return
                for problem in found:
                    self.console.say(problem, indent="  ")
                continue
            try:
                if chosen < len(fields):
                    self.ask(fields[chosen])
                else:
                    self.change_extra(chosen - len(fields))
            except Back:
                continue
