"""The guides of `docs/` as pages of the product: Markdown rendered, links between guides kept working."""

import re
import struct
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

GUIDES = {
    "clients": "For client authors",
    "operators": "For operators",
    "auditors": "For auditors",
    "runbook": "Runbook",
    "monitoring": "Monitoring",
    "metrics": "Metrics",
    "settings": "Settings",
    "adapters": "Kinds of providers",
    "developers": "For developers",
    "pictures": "Every page in pictures",
}
_TO_GUIDE = re.compile(r"(?:\./)?([a-z]+)\.md(#.*)?")
_IMAGE_NAME = re.compile(r"[a-z0-9-]{1,80}")
_PICTURE = re.compile(r"images/(.*)\.png")
_PNG = struct.Struct(">16x2I")
"""Its head: width and height."""
_OUTSIDE = re.compile(r"(?:https?://|#)")


def render(folder: Path, name: str, base: str) -> str | None:
    """HTML of one guide, of the index for an empty name; None when there is no such page.

    `base`: the path the guides are served under. Raw HTML in them stays text.
    """
    path = folder / f"{name or 'README'}.md"
    if (name and name not in GUIDES) or not path.exists():
        return None
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(path.read_text(encoding="utf-8"))
    for place, token in enumerate(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(tokens[place + 1].content))
        for inner in token.children or ():
            _measure(inner, folder)
            _relink(inner, base)
    rendered: str = markdown.renderer.render(tokens, markdown.options, {})
    return rendered


def anchor(heading: str) -> str:
    """As code hosts make them, so that one link works in both places."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def image(folder: Path, name: str) -> Path | None:
    """The file of a picture in the guides; None when there is none of that name."""
    path = folder / "images" / f"{name}.png"
    return path if _IMAGE_NAME.fullmatch(name) and path.exists() else None


def _measure(token: Token, folder: Path) -> None:
    """Pictures come when they are near, and their places are kept free: or a page would move under its reader, and
    what is in focus out of sight."""
    source = token.attrGet("src")
    found = _PICTURE.fullmatch(source) if isinstance(source, str) else None
    picture = image(folder, found[1]) if found else None
    if picture:
        with picture.open("rb") as file:
            head = file.read(_PNG.size)
        if len(head) == _PNG.size:
            for name, pixels in zip(("width", "height"), _PNG.unpack(head), strict=True):
                token.attrSet(name, str(pixels))
        token.attrSet("loading", "lazy")


def _relink(token: Token, base: str) -> None:
    """A link to another file of the checkout has no page here: it loses its target, not its text."""
    source = token.attrGet("src")
    if isinstance(source, str) and source.startswith("images/"):
        token.attrSet("src", f"{base}{source}")
    href = token.attrGet("href")
    if not isinstance(href, str) or _OUTSIDE.match(href):
        return
    match = _TO_GUIDE.fullmatch(href)
    if match and match[1] in GUIDES:
        token.attrSet("href", f"{base}{match[1]}{match[2] or ''}")
    elif href.startswith("README.md"):
        token.attrSet("href", base)
    else:
        del token.attrs["href"]
