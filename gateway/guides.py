"""The guides of `docs/` as pages of the product: Markdown rendered, links between guides kept working."""

import re
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


def _relink(token: Token, base: str) -> None:
    """A link to another file of the checkout has no page here: it loses its target, not its text."""
    source = token.attrGet("src")
    if isinstance(source, str) and source.startswith("images/"):
        token.attrSet("src", f"{base}{source}")
        token.attrSet("loading", "lazy")
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
