"""The fields of a provider and of a client as the assistant asks for them. Pure."""

from collections.abc import Callable
from typing import Any, NamedTuple

from clients.types import CAPTURE_DAYS, CAPTURES, METHODS
from gateway.assistant.draft import Json
from gateway.assistant.typed import limit, names, number, period, text, whole, yes_or_no
from providers.adapters import ADAPTERS, infer_kind
from providers.types import CAPABILITIES


class Field(NamedTuple):
    """`name`: the JSON name; a dot leads one level down. `read` raises `ValueError` with what to type instead.
    `choices`: what may be typed by number. `default`: what an absent field means, and no file
    writes. `empty`: in words, what it means to leave it empty."""

    name: str
    label: str
    help: str
    read: Callable[[str], Any]
    needed: bool = False
    choices: tuple[str, ...] = ()
    default: Any = None
    empty: str = ""

    @property
    def pointer(self) -> str:
        return "/" + self.name.replace(".", "/")


def get(entry: Json, field: Field) -> Any:
    value: Any = entry
    for part in field.name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return field.default if value is None else value


def put(entry: Json, field: Field, value: Any) -> Json:
    """A new entry. None, or the default, takes the field out, and what is empty then around it."""
    value = None if value == field.default else value
    outer, dot, inner = field.name.partition(".")
    if dot:
        below = {name: old for name, old in entry.get(outer, {}).items() if name != inner}
        value = (below if value is None else below | {inner: value}) or None
    if value is None:
        return {name: old for name, old in entry.items() if name != outer}
    return entry | {outer: value}


NAME = Field(
    "name",
    "Name",
    "How clients and records call this provider, for example lmstudio_gpu. Here it cannot be changed later; the admin can.",
    text,
    needed=True,
)
KIND = Field(
    "kind", "Kind", "Which dialect the provider speaks. Most servers are openai-compatible.", text, choices=tuple(ADAPTERS)
)  # fmt: skip
BASE_URL = Field(
    "baseUrl",
    "Base URL",
    "Where the provider's API begins, for example http://localhost:1234/v1. No key belongs into it.",
    text,
    needed=True,
)
CAPABILITY = Field(
    "capabilities",
    "Capabilities",
    "What calls may be routed here for, by number or name, separated by commas.",
    names,
    needed=True,
    choices=CAPABILITIES,
)
DEFAULT_MODEL = Field(
    "defaultModel",
    "Default model",
    "Asked for when neither the caller nor a capability names a model.",
    text,
    needed=True,
)
MODELS = Field(
    "models",
    "Models",
    "Models that calls may name beside the default and what discovery finds, separated by commas.",
    names,
    default=[],
)
_TIMEOUT_HELP = "In milliseconds. The default is that of the environment."
_TIMEOUTS = (
    ("connectMs", "Connect timeout"),
    ("firstEventMs", "First event timeout"),
    ("idleMs", "Idle timeout"),
    ("totalMs", "Total timeout"),
)


def provider_fields(name: str, entry: Json) -> list[Field]:
    """All but the name and the key; models and scores for the capabilities that the entry speaks of."""
    spoken = {*entry.get("capabilities", ()), *entry.get("defaults", ()), *entry.get("scores", ())}
    mine = [name for name in CAPABILITIES if name in spoken]
    return [
        KIND._replace(default=infer_kind(name)),
        BASE_URL,
        CAPABILITY,
        DEFAULT_MODEL,
        *(Field(f"defaults.{c}", f"Model for {c}", f"The model for {c}; worth 50 points when set.", text) for c in mine),
        *(
            Field(f"scores.{c}", f"Score for {c}", "The provider with the highest is asked first.", number, empty="0")
            for c in mine
        ),
        MODELS,
        Field("enabled", "Enabled", "A disabled provider is kept but never called.", yes_or_no, default=True),
        Field("maxConcurrency", "Calls at once", "More wait for a place.", whole, empty="no limit"),
        *(Field(f"timeouts.{name}", label, _TIMEOUT_HELP, whole, empty="default") for name, label in _TIMEOUTS),
        Field("notes", "Notes", "For people; the gateway does not read them.", text),
    ]  # fmt: skip


TOOL_ID = Field(
    "toolId",
    "Tool id",
    "The client's name, for example my-editor; records carry it. Here it cannot be changed later; the admin can.",
    text,
    needed=True,
)
ALLOWED_METHODS = Field(
    "allowedMethods",
    "May call",
    "The methods of this client, by number or name, separated by commas.",
    names,
    needed=True,
    choices=METHODS,
)
CLIENT_FIELDS = (
    ALLOWED_METHODS,
    Field("enabled", "Enabled", "All tokens of a disabled client are refused.", yes_or_no, default=True),
    Field(
        "allowedNetworks",
        "Networks",
        "Where it may call from, for example 10.1.0.0/16, separated by commas.",
        names,
        empty="any",
    ),
    Field("allowedProviders", "Providers", "Names of the only providers it may use.", names, empty="all"),
    Field("allowedModels", "Models", "Names of the only models it may use.", names, empty="all"),
    Field(
        "rateLimit",
        "Rate limit",
        "Calls per milliseconds, for example 10 per 1000. The default is that of the environment.",
        limit,
        empty="default",
    ),
    Field("maxConcurrency", "Calls at once", "More are refused with 429.", whole, empty="no limit"),
    Field("notes", "Notes", "For people; the gateway does not read them.", text),
    Field(
        "capture",
        "Content of calls",
        "Of which calls the content is kept, encrypted; whoever opens it gives a reason.",
        text,
        choices=CAPTURES,
        default="off",
    ),
    Field("captureDays", "Days it is kept", "1 to 365.", whole, default=CAPTURE_DAYS),
)
EXPIRY = Field(
    "expires",
    "Expires after",
    "For example 90d or 12h, counted from the moment of saving.",
    period,
    empty="never",
)
