"""The page *Configuration*: both files, how they and the database compare, and what can be done about it."""

import json
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from gateway import backups, plans, versions
from gateway.canonical import STAND_IN, canonical
from gateway.configfile import drift, export_file, peppers, read_contents
from gateway.difference import Change, difference
from gateway.models import ConfigVersion
from gateway.reading import MAX_FILE_BYTES, Content, ImportRefused
from gateway.rendering import FILES
from gateway.rendering import render as render_file

MAY_SEE = ("gateway.view_configversion", "providers.view_provider", "clients.view_client")
"""What it takes to see what the files say: the tables' own permissions besides the page's."""
MAY_CHANGE = (*MAY_SEE, "gateway.add_configversion")
SHOWN_CHANGES = 2000
"""More entries in one difference are counted, not shown: no browser likes a page of 100,000 rows."""


def require(request: HttpRequest, permissions: tuple[str, ...]) -> None:
    """Raises `PermissionDenied`."""
    if not request.user.has_perms(permissions):  # type: ignore[union-attr]
        raise PermissionDenied


def page(request: HttpRequest, template: str, **context: Any) -> HttpResponse:
    rights = {
        "may_see": request.user.has_perms(MAY_SEE),  # type: ignore[union-attr]
        "may_change": request.user.has_perms(MAY_CHANGE),  # type: ignore[union-attr]
    }
    return render(request, template, admin.site.each_context(request) | rights | context)


def shown(changes: dict[str, tuple[Change, ...]]) -> list[dict[str, Any]]:
    """As the template of differences wants them."""
    return [
        {
            "name": name,
            "changes": found[:SHOWN_CHANGES],
            "count": len(found),
            "more": max(0, len(found) - SHOWN_CHANGES),
            "has_new_tokens": any(
                detail.field.startswith(f"token {STAND_IN}") for change in found for detail in change.details
            ),
        }
        for name, found in changes.items()
    ]


@require_safe
def configuration(request: HttpRequest) -> HttpResponse:
    plans.sweep()
    limit = min(MAX_FILE_BYTES, settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    return page(
        request,
        "admin/console/configuration.html",
        title="Configuration",
        files=[_compared(name) for name in FILES],
        newest=ConfigVersion.objects.defer("before").first(),
        upload_limit=limit,
    )


def _compared(name: str) -> dict[str, Any]:
    """One file's card."""
    path = settings.CONFIG_DIR / name
    card: dict[str, Any] = {"name": name, "path": path, "there": False}
    try:
        state = drift(name, path)
    except OSError as error:
        return card | {"state": "failed", "words": f"the file cannot be read ({error.strerror})"}
    if state is None:
        return card | {"state": "off", "words": "there is no such file; export to make it"}
    card |= {"there": True, "file_changed": state.file_changed, "backups": backups.backups_of(path)}
    if not state.words:
        return card | {"state": "ok", "words": "in sync"}
    card |= {"state": "failed" if all(state) else "degraded", "words": state.words}
    try:
        (item,) = read_contents([Content(name, name, path)])
    except ImportRefused as refused:
        return card | {"problems": refused.problems}
    current = json.loads(render_file(name))
    sides = (current, canonical(item, current, peppers()))
    found = difference(*sides) if state.file_changed else difference(*reversed(sides))
    return card | {"difference": shown({name: found}) if found else []}


@require_safe
def download(request: HttpRequest, name: str) -> HttpResponse:
    require(request, MAY_SEE)
    _known(name)
    headers = {"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"}
    return HttpResponse(render_file(name), content_type="application/json", headers=headers)


@require_POST
def export(request: HttpRequest, name: str) -> HttpResponseRedirect:
    require(request, MAY_CHANGE)
    path = settings.CONFIG_DIR / _known(name)
    before = set(backups.backups_of(path)) if path.parent.is_dir() else set()
    try:
        exported = export_file(name, settings.CONFIG_DIR)
    except backups.SaveError as error:
        messages.error(request, f"{error}; nothing else was written.")
        return redirect("admin:configuration")
    if exported.unchanged:
        messages.info(request, f"{path} says the same already; nothing was written.")
        return redirect("admin:configuration")
    made = [kept.name for kept in backups.backups_of(path) if kept not in before]
    said = [f"Wrote {path}."]
    said += [f"What it said before is in {kept}." for kept in made]
    said += [f"Removed the old backup {old.name}." for old in exported.removed]
    messages.success(request, " ".join(said))
    _log_export(request, name)
    return redirect("admin:configuration")


def _log_export(request: HttpRequest, name: str) -> None:
    """In Django's history, at the version that was exported, if there is one."""
    version = ConfigVersion.objects.filter(pk=versions.newest()).defer("before").first()
    if version is not None:
        history = admin.site.get_model_admin(ConfigVersion)
        history.log_change(request, version, f"exported {name} to the folder")


def _known(name: str) -> str:
    """Raises `Http404` for what is not one of the two files."""
    if name not in FILES:
        raise Http404
    return name
