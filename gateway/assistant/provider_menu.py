"""Providers in the menu: list, add, change, delete, find models. Each returns the draft as it is then."""

from gateway.assistant import draft as drafts
from gateway.assistant.checking import below, provider_problems
from gateway.assistant.discovery import NoModels, models_of
from gateway.assistant.draft import Draft
from gateway.assistant.fields import (
    BASE_URL,
    CAPABILITY,
    DEFAULT_MODEL,
    KIND,
    MODELS,
    NAME,
)
from gateway.assistant.prompts import Back, Console
from gateway.assistant.provider_form import ProviderForm, key_words
from providers.adapters import ADAPTERS, infer_kind
from providers.dependents import if_deleted
from providers.types import CAPABILITIES

MAX_LISTED = 50


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
    if words := if_deleted([name]):
        console.say(f"warning: {words}")
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
