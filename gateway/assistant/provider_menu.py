"""Providers in the menu: list, add, change, delete, find models. Each returns the draft as it is then."""

from gateway.assistant import draft as drafts
from gateway.assistant.checking import below, provider_problems, provider_warnings
from gateway.assistant.discovery import NoModels, models_of
from gateway.assistant.draft import Draft, Json
from gateway.assistant.fields import (
    BASE_URL,
    CAPABILITY,
    DEFAULT_MODEL,
    KIND,
    MODELS,
    NAME,
    Field,
    provider_fields,
)
from gateway.assistant.forms import EntryForm
from gateway.assistant.prompts import Back, Console, bracketed
from providers.adapters import ADAPTERS, infer_kind
from providers.credentials import is_sendable
from providers.types import CAPABILITIES, Secret

MAX_LISTED = 50
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


def show_all(console: Console, draft: Draft) -> Draft:
    if not drafts.providers(draft):
        console.say("There are no providers yet. Add one, for example LM Studio on this machine.")
    for n, (name, entry) in enumerate(drafts.providers(draft).items(), 1):
        off = "" if entry.get("enabled", True) else "  (disabled)"
        console.say(f"{n:>3}  {name}{off}")
        console.say(f"{entry.get('kind') or infer_kind(name)} at {entry['baseUrl']}", indent="     ")
        console.say(
            f"{', '.join(entry['capabilities'])}; default model {entry['defaultModel']}", indent="     "
        )
        if scores := ", ".join(f"{c} {score}" for c, score in entry.get("scores", {}).items()):
            console.say(f"scores: {scores}", indent="     ")
        console.say(f"key: {key_words(draft, name, entry)}", indent="     ")
    for alias, target in draft.now.providers.get("aliases", {}).items():
        console.say(f"alias {alias} → {target}", indent="     ")
    return draft


def add(console: Console, draft: Draft) -> Draft:
    console.say("A new provider. ? explains a question, < goes back without adding.")

    def wrong_name(value: str) -> list[str]:
        if value in drafts.providers(draft):
            return ["A provider of this name is there already; change that one."]
        return below(provider_problems(value, {}), "")

    name = console.field(NAME, None, wrong_name)
    form = ProviderForm(console, draft, name, {})
    form.ask(KIND._replace(default=infer_kind(name)))
    adapter = ADAPTERS[form.kind]
    if adapter.default_base_url:
        form.entry = form.entry | {"baseUrl": adapter.default_base_url}
    form.ask(BASE_URL)
    form.ask_key()
    form.entry = form.entry | {"capabilities": [c for c in CAPABILITIES if c in adapter.capabilities]}
    form.ask(CAPABILITY)
    models = _offered(console, form)
    form.ask(DEFAULT_MODEL._replace(choices=models[:MAX_LISTED]))
    form.finish(f"New provider {name}")
    return form.done()


def _offered(console: Console, form: ProviderForm) -> tuple[str, ...]:
    """What the provider has, before a default model is asked for. That it does not answer stops nothing."""
    if not console.confirm("Ask the provider for its models now?", default=True):
        return ()
    try:
        return models_of(form.draft, form.name, {"defaultModel": "unknown"} | form.entry, form.key)
    except NoModels as error:
        console.say(f"{error} The provider can be added all the same.", indent="  ")
        return ()


def change(console: Console, draft: Draft) -> Draft:
    name = _which(console, draft, "Change which provider")
    form = ProviderForm(console, draft, name, drafts.providers(draft)[name])
    form.finish(f"Provider {name}")
    return form.done()


def delete(console: Console, draft: Draft) -> Draft:
    name = _which(console, draft, "Delete which provider")
    aliases = drafts.aliases_of(draft, name)
    along = f" and its aliases {', '.join(aliases)}" if aliases else ""
    if not console.confirm(f"Delete {name}{along}? The record of its calls stays."):
        raise Back
    console.say(f"{name} is gone from the draft. Save to make it take effect.")
    return drafts.remove_provider(draft, name)


def find_models(console: Console, draft: Draft) -> Draft:
    """Asks, shows, and lets the person take models over into the entry."""
    name = _which(console, draft, "Models of which provider")
    entry = drafts.providers(draft)[name]
    try:
        found = models_of(draft, name, entry)
    except NoModels as error:
        console.say(f"{name}: {error}")
        return draft
    console.say(f"{name} has {len(found)} models. Enter keeps what is in brackets, - empties a list.")
    form = ProviderForm(console, draft, name, entry)
    for field in (DEFAULT_MODEL, MODELS):
        form.ask(field._replace(choices=found[:MAX_LISTED]))
    return draft if form.entry == entry else form.done()


def _which(console: Console, draft: Draft, prompt: str) -> str:
    names = list(drafts.providers(draft))
    if not names:
        console.say("There are no providers yet.")
        raise Back
    return names[console.pick(prompt, names)]
