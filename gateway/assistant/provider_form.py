"""One provider being filled in or changed: its fields, where its key comes from, its place in the order."""

from gateway.assistant import draft as drafts
from gateway.assistant.checking import below, provider_problems, provider_warnings
from gateway.assistant.draft import Draft, Json
from gateway.assistant.fields import Field, provider_fields
from gateway.assistant.forms import EntryForm
from gateway.assistant.prompts import Console, bracketed
from providers.adapters import ADAPTERS, infer_kind
from providers.credentials import is_sendable
from providers.types import Secret

MAX_KEY = 4_096
STORED = {"stored": True}
VARIABLE = Field(
    "env", "Environment variable", "Its name, for example MY_API_KEY. Never the key.", str, needed=True
)
KEY_FILE = Field("file", "File", "The path of a file whose first line is the key.", str, needed=True)


class ProviderForm(EntryForm):
    def __init__(self, console: Console, draft: Draft, name: str, entry: Json) -> None:
        super().__init__(console, entry)
        self.draft, self.name = draft, name
        self.key: Secret | None = None
        names = list(drafts.providers(draft))
        self.place = names.index(name) + 1 if name in names else len(names) + 1

    @property
    def kind(self) -> str:
        return str(self.entry.get("kind") or infer_kind(self.name))

    def fields(self) -> list[Field]:
        return provider_fields(self.name, self.entry)

    def problems(self, entry: Json) -> list[tuple[str, str]]:
        return provider_problems(self.name, entry)

    def extra(self) -> list[tuple[str, str]]:
        key = "a new one, to be sealed" if self.key else key_words(self.draft, self.name, self.entry)
        return [("Key", key), ("Place in the order", str(self.place))]

    def change_extra(self, number: int) -> None:
        self.ask_key() if number == 0 else self.ask_place()

    def ask_key(self) -> None:
        """Where the key comes from. One to be kept in the database is typed without being shown."""
        default = ADAPTERS[self.kind].default_key_env if self.kind in ADAPTERS else None
        own = f"Environment variable {default}, as usual for {self.kind}" if default else "None needed"
        options = [own, "Another environment variable", "A file", "Kept in the database, encrypted"]
        sources = [None, "env", "file", "stored"]
        current = next(iter(self.entry.get("apiKey") or {None: None}))
        chosen = self.console.choose("Key", options, default=sources.index(current))
        source = sources[chosen or 0]
        if source is None:
            self.key, self.entry = None, {n: v for n, v in self.entry.items() if n != "apiKey"}
        elif source == "stored":
            self.key = self._typed_key() or self.key
            self.entry = self.entry | {"apiKey": STORED}
        else:
            self._ask_key_place(VARIABLE if source == "env" else KEY_FILE)

    def _ask_key_place(self, field: Field) -> None:
        def wrong(value: str) -> list[str]:
            return below(self.problems(self.entry | {"apiKey": {field.name: value}}), "/apiKey")

        now = (self.entry.get("apiKey") or {}).get(field.name)
        self.entry = self.entry | {"apiKey": {field.name: self.console.field(field, now, wrong)}}
        self.key = None

    def _typed_key(self) -> Secret | None:
        there = self.key or self.name in self.draft.stored or self.name in self.draft.keys
        while True:
            typed = self.console.secret(
                f"API key, not shown as you type{bracketed('as it is' if there else '')}: "
            )
            if len(typed) > MAX_KEY or not is_sendable(typed):
                self.console.say(f"A key has at most {MAX_KEY} characters, all of them ASCII.", indent="  ")
            elif typed:
                return Secret(typed)
            elif there:
                return None
            else:
                self.console.say("Enter the key to keep. < goes back.", indent="  ")

    def ask_place(self) -> None:
        options = [name for name in drafts.providers(self.draft) if name != self.name]
        self.console.say(
            "Among providers of equal score, the first in this order is asked first.", indent="  "
        )
        options = [f"before {name}" for name in options] + ["last"]
        chosen = self.console.choose("Place", options, default=min(self.place, len(options)) - 1)
        self.place = (chosen or 0) + 1

    def done(self) -> Draft:
        draft = drafts.put_provider(self.draft, self.name, self.entry, self.key)
        for warning in provider_warnings(self.name, self.entry):
            self.console.say(f"warning: {warning}", indent="  ")
        if list(drafts.providers(draft)).index(self.name) + 1 != self.place:
            draft = drafts.move_provider(draft, self.name, self.place)
        self.console.say(f"{self.name} is in the draft. Save to make it take effect.")
        return draft


def key_words(draft: Draft, name: str, entry: Json) -> str:
    """Where the key comes from. Never the key."""
    ((source, where),) = (entry.get("apiKey") or {"default": None}).items()
    if source == "stored":
        if name in draft.keys:
            return "a new one, to be sealed into the database"
        return "kept in the database" if name in draft.stored else "kept in the database, but none is there"
    if source == "file":
        return f"file {where}"
    kind = entry.get("kind") or infer_kind(name)
    variable = where or (ADAPTERS[kind].default_key_env if kind in ADAPTERS else None)
    return f"environment variable {variable}" if variable else "none needed"
