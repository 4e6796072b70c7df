"""Who counts on a provider: the clients that may use it by name, and the aliases that point to it.

Whoever knows the clients says how to ask for them.
"""

from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from providers.models import ModelAlias, Provider

SHOWN = 20
NOBODY_LEFT = "No provider is left: nothing answers anybody."


class Dependent(NamedTuple):
    """A client. `only`: it may use no other provider than those asked about."""

    tool_id: str
    only: bool


Ask = Callable[[Collection[str]], Sequence[tuple[str, bool]]]


def _nobody(names: Collection[str]) -> Sequence[tuple[str, bool]]:
    return ()


_ask: Ask = _nobody


def clients_naming_from(ask: Ask) -> None:
    """Called once at start."""
    global _ask
    _ask = ask


def clients_naming(names: Collection[str]) -> list[Dependent]:
    return [Dependent(*found) for found in _ask(names)]


def if_gone(names: Collection[str]) -> str:
    """What it means for clients when no provider has these names any more, in sentences; "" for nothing."""
    found = clients_naming(names)
    stranded = [client.tool_id for client in found if client.only]
    others = [client.tool_id for client in found if not client.only]
    said = []
    if stranded:
        said.append(
            f"Clients that may use no other provider, so that nothing answers them: {_listed(stranded)}."
        )
    if others:
        said.append(f"Clients that name it among the providers that they may use: {_listed(others)}.")
    return " ".join(said)


def if_deleted(names: Collection[str]) -> str:
    """As `if_gone`, of providers that are there still."""
    enabled = set(Provider.objects.filter(enabled=True).values_list("name", flat=True))
    last = [NOBODY_LEFT] if enabled and enabled <= set(names) else []
    return " ".join([*last, if_gone(names)]).strip()


def if_disabled(rows: Sequence[Provider]) -> str:
    """As `if_gone`, of providers that have been disabled, with the aliases that answer nobody meanwhile."""
    if not rows:
        return ""
    aliases = _aliases(rows)
    said = [f"Aliases that point to it, so that calls for them fail: {_listed(aliases)}."] if aliases else []
    if not Provider.objects.filter(enabled=True).exists():
        said.insert(0, NOBODY_LEFT)
    return " ".join([*said, if_gone([row.name for row in rows])]).strip()


def if_renamed(before: str, row: Provider) -> str:
    """Aliases follow a provider to its new name; what clients may use does not, nor what callers write."""
    clients, aliases = if_gone([before]), _aliases([row])
    if not clients and not aliases:
        return ""
    said = [f"“{before}” is called “{row.name}” now; who names “{before}” is not answered any more."]
    if clients:
        said.append(f"{clients} Write the new name into their allowed providers.")
    if aliases:
        said.append(f"Aliases that follow it: {_listed(aliases)}.")
    return " ".join(said)


def _aliases(rows: Sequence[Provider]) -> list[str]:
    return list(ModelAlias.objects.filter(provider__in=rows).values_list("name", flat=True))


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{', '.join(names[:SHOWN])}{more}"
