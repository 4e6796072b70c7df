"""Planning a change of the configuration from a file: checked, shown, and applied as it was shown, or not at all."""

import json
from collections.abc import Sequence

from django.conf import settings
from django.contrib import admin, messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods, require_POST

from gateway import plans, versions
from gateway.canonical import without_minted_ids
from gateway.configfile import Outcome, import_contents, read_contents
from gateway.console.configuration import MAY_CHANGE, page, require, shown
from gateway.difference import Change, difference
from gateway.models import ConfigVersion
from gateway.reading import Content, ImportRefused
from gateway.rendering import CLIENTS, FILES

GONE = "This plan is gone: it was applied or cancelled, or is older than 15 minutes. Plan again."
ANOTHERS = "This plan is somebody else's, who alone can see and apply it. Plan the change yourself."
NOT_USED = "The chosen upload was not used: this is a plan of the file in the folder."
CHANGED = (
    "The configuration changed after this plan was shown, so nothing was applied. "
    "Below is what the plan would change now."
)


class ChangedMeanwhileError(Exception):
    """The newest version is not the one that the plan was shown against."""


@require_POST
def start(request: HttpRequest, name: str) -> HttpResponse:
    """Of the folder's file, or of an uploaded one."""
    require(request, MAY_CHANGE)
    if name not in FILES:
        raise Http404
    path = settings.CONFIG_DIR / name
    content = Content(name, str(path), path, own=True)
    if "upload" in request.POST:
        uploaded = request.FILES.get("file")
        if uploaded is None:
            messages.error(request, f"Choose a file for {name} first; one that is too large counts as none.")
            return redirect("admin:configuration")
        content = Content(name, str(uploaded.name), uploaded.read())
    elif request.FILES.get("file"):
        messages.warning(request, NOT_USED)
    return propose(
        request, [content], merge="merge" in request.POST, reason=f"import of {content.label}"[:500]
    )


def propose(request: HttpRequest, contents: Sequence[Content], *, merge: bool, reason: str) -> HttpResponse:
    """Keeps the plan and goes to its page; or shows what is wrong with the files, and nothing is kept."""
    try:
        loaded = read_contents(contents, merge=merge)
        plan_id = plans.keep(loaded, request.user.pk, merge=merge, reason=reason)
    except ImportRefused as refused:
        return _refused(request, refused)
    except OSError as error:
        messages.error(request, f"The plan could not be kept in the state folder ({error.strerror}).")
        return redirect("admin:configuration")
    return redirect("admin:configuration_plan", plan_id)


def _refused(request: HttpRequest, refused: ImportRefused) -> HttpResponse:
    template = "admin/console/configuration_refused.html"
    return page(request, template, title="Nothing was changed", problems=refused.problems)


@require_http_methods(["GET", "HEAD", "POST"])
def plan(request: HttpRequest, plan_id: str) -> HttpResponse:
    require(request, MAY_CHANGE)
    try:
        found = plans.find(plan_id, request.user.pk)
        if "cancel" in request.POST:
            plans.discard(plan_id)
            messages.info(request, "The plan was cancelled; nothing was changed.")
            return redirect("admin:configuration")
        return _apply(request, plan_id, found) if request.method == "POST" else _show(request, found)
    except plans.PlanOfAnother:
        messages.error(request, ANOTHERS)
        return redirect("admin:configuration")
    except plans.PlanGone:
        messages.error(request, GONE)
        return redirect("admin:configuration")
    except ImportRefused as refused:
        return _refused(request, refused)


def _show(request: HttpRequest, found: plans.Plan) -> HttpResponse:
    # The version is read first: what changes meanwhile makes the plan refuse, never apply something else.
    version = versions.newest()
    outcome = import_contents(found.contents, merge=found.merge, dry_run=True)
    changes = _changes(outcome, read_contents(found.contents, merge=found.merge))
    return page(
        request,
        "admin/console/configuration_plan.html",
        title="Plan",
        plan=found,
        version=version,
        difference=shown(changes),
        warnings=outcome.warnings + outcome.consequences + _revived(changes),
        nothing=not outcome.changed,
    )


def _changes(outcome: Outcome, loaded: Sequence[plans.Loaded]) -> dict[str, tuple[Change, ...]]:
    """File name → what an export would say differently; of the files that change."""
    given = {
        token.id
        for item in loaded
        if item.name == CLIENTS
        for registered in item.entries.values()
        for token in registered.tokens
    }
    found = {}
    for name in outcome.changed:
        before, after = (json.loads(text) for text in outcome.states[name])
        known = {token["id"] for client in before.get("clients", ()) for token in client.get("tokens", ())}
        found[name] = difference(before, without_minted_ids(after, known | given))
    return found


def _revived(changes: dict[str, tuple[Change, ...]]) -> list[str]:
    """Tokens that were revoked and would be good again: seldom what is meant."""
    return [
        f"{change.kind} {change.name}: {detail.field}: {detail.words}"
        for found in changes.values()
        for change in found
        for detail in change.details
        if "taken back" in detail.words
    ]


def _apply(request: HttpRequest, plan_id: str, found: plans.Plan) -> HttpResponse:
    reason = request.POST.get("reason", "").strip()[:500] or found.reason
    try:
        with transaction.atomic():
            versions.remember()  # waits for whoever is changing the configuration right now
            before = versions.newest()
            if request.POST.get("version") != str(before):
                raise ChangedMeanwhileError
            import_contents(
                found.contents, merge=found.merge, author=request.user.get_username(), reason=reason
            )
            version = ConfigVersion.objects.defer("before").filter(pk__gt=before).first()
            if version is not None:
                admin.site.get_model_admin(ConfigVersion).log_addition(request, version, reason)
    except ChangedMeanwhileError:
        messages.warning(request, CHANGED)
        return redirect("admin:configuration_plan", plan_id)
    plans.discard(plan_id)
    _tell(request, version, found)
    return redirect("admin:configuration")


def _tell(request: HttpRequest, version: ConfigVersion | None, found: plans.Plan) -> None:
    if version is None:
        messages.info(request, "There was nothing to change; no version was made.")
        return
    url = reverse("admin:gateway_configversion_change", args=[version.pk])
    own = all(content.own for content in found.contents)
    rest = (
        "" if own else " The files in the folder say what they said before; export when they should follow."
    )
    messages.success(request, format_html('Applied as <a href="{}">version {}</a>.{}', url, version.pk, rest))
