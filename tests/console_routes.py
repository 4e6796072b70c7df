"""Every address below the product's root, from its URL patterns: what a crawl has to open, and what it may leave."""

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import hostile
from django.urls import URLResolver, get_resolver

from gateway.guides import GUIDES
from gateway.rendering import FILES

ARGUMENT = re.compile(r"<(?:(\w+):)?(\w+)>|\(\?P<(\w+)>([^)]*)\)")


class Route(NamedTuple):
    """`pattern` as Django's resolver spells it. `table`: "app.model" for those below a table's own address."""

    pattern: str
    name: str
    table: str
    what: str


def routes() -> list[Route]:
    return list(_walk(get_resolver().url_patterns, "/"))


def _walk(patterns: Sequence[Any], prefix: str) -> Iterator[Route]:
    for pattern in patterns:
        path = prefix + str(pattern.pattern).removeprefix("^").removesuffix("$")
        if isinstance(pattern, URLResolver):
            yield from _walk(pattern.url_patterns, path)
        else:
            below = re.match(r"/admin/(\w+)/(\w+)/(?:<[^>]*>/)?(\w*)", path)
            app, model, what = below.groups() if below and "(?P" not in path else ("", "", "")
            yield Route(path, pattern.name or "", f"{app}.{model}" if app else "", what or "changelist")


def addresses(route: Route, rows: dict[str, list[int]], plan: str) -> list[str]:
    """The route with each argument that it may have. `rows`: "app.model" → keys."""
    found = [""]
    at = 0
    for match in ARGUMENT.finditer(route.pattern):
        values = _values(route, match, rows, plan)
        fixed = route.pattern[at : match.start()]
        found = [f"{before}{fixed}{quote(value)}" for before in found for value in values]
        at = match.end()
    return [before + route.pattern[at:] for before in found]


def _values(route: Route, match: re.Match[str], rows: dict[str, list[int]], plan: str) -> list[str]:
    name = match[2] or match[3]
    if name == "app_label":
        return match[4].split("|")
    if name == "plan_id":
        return [plan]
    if name == "name":
        pages = {"/docs/<slug:name>": list(GUIDES), "/docs/images/<slug:name>.png": ["home-light"]}
        return pages.get(route.pattern, list(FILES))
    if name == "url":
        return ["<xss>no such page"]
    if name == "call_id":
        return [str(hostile.call_id(0))]
    keys = rows.get(route.table, [1])
    return [str(key) for key in keys]
