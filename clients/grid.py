"""Clients × methods on one page. What is sent back is a difference: what the page showed, and what is ticked now."""

from typing import Any, NamedTuple

from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.core.paginator import Page, Paginator
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render

from clients.grants import change_methods
from clients.models import Client
from clients.turns import take_turn
from clients.types import METHODS

PER_PAGE = 50
MAX_DIGITS = 18
SHOWN, TICKED = "shown-", "may-"
"""Names of the fields, each followed by the client's key: the methods shown as granted, and those ticked."""


class Row(NamedTuple):
    client: Client
    shown: str
    cells: list[tuple[str, bool]]


def grid_page(admin: ModelAdmin, request: HttpRequest) -> HttpResponse:
    if not admin.has_view_permission(request):
        raise PermissionDenied
    if request.method == "POST":
        if not admin.has_change_permission(request):
            raise PermissionDenied
        changed = _apply(admin, request)
        said = (
            f"Changed {changed} client{'' if changed == 1 else 's'}." if changed else "Nothing was changed."
        )
        messages.success(request, said)
        return HttpResponseRedirect(request.get_full_path())
    wanted = request.GET.get("q", "").strip()
    page = _page(wanted, request.GET.get("p", "1"))
    context = admin.admin_site.each_context(request) | {
        "title": "Who may call what",
        "opts": Client._meta,
        "methods": METHODS,
        "page": page,
        "rows": [_row(client) for client in page],
        "wanted": wanted,
        "may_change": admin.has_change_permission(request),
        "may_add": admin.has_add_permission(request),
    }
    return render(request, "admin/clients/client/permissions.html", context)


def _page(wanted: str, number: str) -> Page:
    clients = Client.objects.order_by("tool_id").prefetch_related("permissions")
    if wanted:
        clients = clients.filter(tool_id__icontains=wanted)
    return Paginator(clients, PER_PAGE).get_page(number)


def _row(client: Client) -> Row:
    granted = {row.method for row in client.permissions.all()}
    cells = [(method, method in granted) for method in METHODS]
    return Row(client, ",".join(method for method, is_granted in cells if is_granted), cells)


def _apply(admin: ModelAdmin, request: HttpRequest) -> int:
    """How many clients changed. A cell that was not touched keeps what somebody else made of it meanwhile."""
    wanted = _differences(request.POST)
    changed = 0
    with transaction.atomic():
        take_turn()
        for client in Client.objects.select_for_update().filter(pk__in=wanted):
            add, remove = wanted[client.pk]
            done = change_methods(client, add=add, remove=remove)
            if done:
                admin.log_change(request, client, f"Permissions grid: {done}")
                changed += 1
    return changed


def _differences(data: QueryDict) -> dict[int, tuple[set[str], set[str]]]:
    """By client: the methods ticked, and those unticked."""
    found: dict[int, tuple[set[str], set[str]]] = {}
    for name in data:
        key = name.removeprefix(SHOWN)
        if key == name or not (key.isascii() and key.isdecimal() and len(key) <= MAX_DIGITS):
            continue
        shown = set(data[name].split(",")) & set(METHODS)
        ticked: Any = set(data.getlist(TICKED + key)) & set(METHODS)
        if shown != ticked:
            found[int(key)] = (ticked - shown, shown - ticked)
    return found
