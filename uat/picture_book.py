"""What `docs/pictures.md` is made of, and how it is written. Pure: the pictures are taken in `pictures.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from conftest import RunningGateway
    from playwright.sync_api import Page

    Act = Callable[[Page, RunningGateway], None]

SCHEMES = ("light", "dark")
NOTE = "Made from the real pages by `uat/pictures.py`; do not edit."


def nothing(page: Page, gateway: RunningGateway) -> None:
    """There is something to see at once."""


class Shot(NamedTuple):
    """A page in light and dark. `says`: the sentence beside it. `prepare`: what a person does before.

    `shows`: the URL names of what `prepare` leads to, where `path` does not tell. `whole`: all of a long page.
    `who` is logged in; "" nobody.
    """

    name: str
    title: str
    says: str
    path: str
    prepare: Act = nothing
    shows: tuple[str, ...] = ()
    whole: bool = True
    who: str = "ada"


class Step(NamedTuple):
    """One of the walk-through. `do` is what `walking.py` does, word by word, before the picture is taken."""

    name: str
    title: str
    do: str
    see: str


def files(groups: Mapping[str, Sequence[Shot]], walk: Sequence[Step]) -> list[str]:
    """The names of all pictures. Of the walk-through only light ones: its pages are there in dark further down."""
    shots = [f"{shot.name}-{scheme}.png" for group in groups.values() for shot in group for scheme in SCHEMES]
    return [f"{step.name}-light.png" for step in walk if step.name] + shots


def book(groups: Mapping[str, Sequence[Shot]], walk: Sequence[Step], before: str) -> str:
    lines = ["# Every page in pictures", "", NOTE, "", "- [Add LM Studio and issue a token](#add-lm-studio-and-issue-a-token)"]  # fmt: skip
    lines += [f"- [{name}](#{anchor(name)})" for name in groups]
    lines += ["", "## Add LM Studio and issue a token", "", before, ""]
    for number, step in enumerate(walk, 1):
        lines += [f"### {number}. {step.title}", "", step.do, "", f"You see {step.see}", ""]
        lines += [f"![{step.title}](images/{step.name}-light.png)", ""] if step.name else []
    for name, shots in groups.items():
        lines += [f"## {name}", ""]
        for shot in shots:
            lines += [f"### {shot.title}", "", shot.says, ""]
            lines += [line for scheme in SCHEMES for line in (f"![{shot.title}, {scheme}](images/{shot.name}-{scheme}.png)", "")]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


def anchor(heading: str) -> str:
    return heading.lower().replace(",", "").replace(" ", "-")
