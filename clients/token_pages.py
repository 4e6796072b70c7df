"""Issue, rotate, change the expiry, revoke: the pages behind the buttons of a client's tokens.

A new token is in the answer of the POST itself and nowhere else: no redirect, no session, no history.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from clients.expiry import State, state_of
from clients.loader import issue, revoke, rotate
from clients.models import Client, ClientToken
from clients.snippets import base_url, snippets
from clients.token_forms import ExpiryForm, IssueForm, RotateForm, like
from clients.tokens import Minted, Pepper, parse_peppers
from clients.turns import take_turn

ADD, CHANGE = "clients.add_clienttoken", "clients.change_clienttoken"
MAX_DIGITS = 18
NOT_ACTIVE = "Token {} has expired or is revoked already. Nothing was changed; issue a new token instead."
SENT_BEFORE = (
    "Another token was issued for this client since the form was shown, perhaps by sending it twice. "
    "None was issued now. If that is what you want, send the form once more."
)


def issue_page(admin: ModelAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    _require(request, ADD)
    with _transaction(request):
        client = _row(Client, request, pk=object_id)
        form = IssueForm(client, request.POST if request.method == "POST" else None)
        if form.is_valid():
            minted = issue(client.tool_id, (), _pepper(), form.cleaned_data["expires_at"])
            admin.log_change(request, client, f"Issued token {minted.token_id}.")
            return _shown_once(admin, request, client, minted)
    return _ask(admin, request, client, form, lambda: IssueForm(client), "clients/client/issue.html")


def rotate_page(admin: ModelAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    _require(request, ADD, CHANGE)
    with _transaction(request):
        token = _row(ClientToken, request, pk=object_id)
        initial = {"expiry": like(token)}
        form = RotateForm(token.client, request.POST if request.method == "POST" else None, initial=initial)
        if _state(token).name != "active":
            return _back(request, token.client, messages.ERROR, NOT_ACTIVE.format(token.token_id))
        if form.is_valid():
            data = form.cleaned_data
            done = rotate(token.token_id, _pepper(), overlap=data["overlap"], expires_at=data["expires_at"])
            said = f"Rotated token {token.token_id}: followed by {done.minted.token_id}."
            admin.log_change(request, token.client, said)
            token.expires_at = done.old_ends_at
            return _shown_once(admin, request, token.client, done.minted, old=token)

    def again() -> RotateForm:
        return RotateForm(token.client, initial=initial)

    return _ask(admin, request, token.client, form, again, "clients/clienttoken/rotate.html", token=token)


def expiry_page(admin: ModelAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    _require(request, CHANGE)
    with _transaction(request):
        token = _row(ClientToken, request, pk=object_id)
        if token.revoked_at is not None:
            return _back(request, token.client, messages.ERROR, NOT_ACTIVE.format(token.token_id))
        form = ExpiryForm(request.POST if request.method == "POST" else None, initial={"expiry": like(token)})
        if form.is_valid():
            token.expires_at = form.cleaned_data["expires_at"]
            token.save()
            said = f"expires {_when(token)}"
            admin.log_change(request, token.client, f"Token {token.token_id} now {said}.")
            return _back(request, token.client, messages.SUCCESS, f"Token {token.token_id} now {said}.")
    return _ask(admin, request, token.client, form, None, "clients/clienttoken/expiry.html", token=token)


def revoke_page(admin: ModelAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    _require(request, CHANGE)
    with _transaction(request):
        token = _row(ClientToken, request, pk=object_id)
        if request.method == "POST":
            if token.revoked_at is None:
                revoke(token.token_id)
                admin.log_change(request, token.client, f"Revoked token {token.token_id}.")
            said = f"Token {token.token_id} is revoked. It is refused everywhere within a second."
            return _back(request, token.client, messages.SUCCESS, said)
    return _ask(admin, request, token.client, None, None, "clients/clienttoken/revoke.html", token=token)


def _require(request: HttpRequest, *permissions: str) -> None:
    if not request.user.has_perms(permissions):  # type: ignore[union-attr]
        raise PermissionDenied


@contextmanager
def _transaction(request: HttpRequest) -> Iterator[None]:
    """Only looking takes no lock: on SQLite a transaction would hold up whoever writes."""
    if request.method != "POST":
        yield
        return
    with transaction.atomic():
        take_turn()
        yield


def _row(model: Any, request: HttpRequest, *, pk: str) -> Any:
    """Locked where something is about to change, so that two clicks come one after the other."""
    if not (pk.isascii() and pk.isdecimal() and len(pk) <= MAX_DIGITS):
        raise Http404
    rows = model.objects.select_for_update() if request.method == "POST" else model.objects
    row = rows.filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def _pepper() -> Pepper:
    return parse_peppers(settings.TOKEN_PEPPERS)[0]


def _state(token: ClientToken) -> State:
    return state_of(token.expires_at, token.revoked_at, timezone.now())


def _when(token: ClientToken) -> str:
    return "never" if token.expires_at is None else f"at {token.expires_at:%Y-%m-%d %H:%M} UTC"


def _ask(
    admin: ModelAdmin,
    request: HttpRequest,
    client: Client,
    form: Any,
    again: Callable[[], Any] | None,
    template: str,
    *,
    token: ClientToken | None = None,
) -> HttpResponse:
    """The form, with what is wrong in it; a fresh one when it was sent a second time."""
    notice, status = "", 200
    if again is not None and form.has_error("newest"):
        form, notice, status = again(), SENT_BEFORE, 409
    context = _context(admin, request, client) | {"form": form, "token": token, "notice": notice}
    if token is not None:
        context["state"] = _state(token)
    return render(request, f"admin/{template}", context, status=status)


def _shown_once(
    admin: ModelAdmin,
    request: HttpRequest,
    client: Client,
    minted: Minted,
    old: ClientToken | None = None,
) -> HttpResponse:
    methods = set(client.permissions.values_list("method", flat=True))
    url = base_url(settings.PUBLIC_URL, settings.HOST, settings.PORT)
    context = _context(admin, request, client) | {
        "minted": minted,
        "ends_at": ClientToken.objects.get(token_id=minted.token_id).expires_at,
        "old": old,
        "snippets": snippets(methods, minted.text, client.tool_id, url),
    }
    response = render(request, "admin/clients/client/issued.html", context)
    response.headers["Cache-Control"] = "no-store"
    return response


def _context(admin: ModelAdmin, request: HttpRequest, client: Client) -> dict[str, Any]:
    return admin.admin_site.each_context(request) | {"client": client, "opts": Client._meta}


def _back(request: HttpRequest, client: Client, level: int, said: str) -> HttpResponse:
    messages.add_message(request, level, said)
    return HttpResponseRedirect(reverse("admin:clients_client_change", args=[client.pk]) + "#tokens")
