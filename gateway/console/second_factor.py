"""The pages of the second factor: asked for after the password; set up, renewed and turned off by its owner."""

from collections.abc import Callable
from contextlib import nullcontext
from urllib.parse import urlencode

import segno
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth import logout
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from gateway import second_factor, staff_failures
from gateway.attribution import IN_THE_ADMIN, attributed
from gateway.console.history import note
from gateway.edge.pages import problem_response
from gateway.models import StaffSecondFactor
from gateway.second_factor import CODE, REQUIRED
from gateway.throttle import CODES, ONE_GUESS
from providers.secrets import SealError

WRONG = (
    "That code is wrong, or was used before. Wait for the next one; check that the device's clock is right."
)
View = Callable[[HttpRequest], HttpResponse]


def _for_staff(view: View) -> View:
    """Who has given a password, whether or not the rest is still owed."""

    @never_cache
    @csrf_protect
    @sensitive_post_parameters("code")
    @require_http_methods(["GET", "POST"])
    def guarded(request: HttpRequest) -> HttpResponse:
        if not (request.user.is_active and request.user.is_staff):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        if not second_factor.is_offered():
            raise Http404
        if request.method == "POST" and "leave" in request.POST:
            logout(request)
            return HttpResponseRedirect(reverse("admin:login"))
        one_guess = ONE_GUESS if request.method == "POST" else nullcontext()
        with one_guess, attributed(request.user.get_username(), IN_THE_ADMIN):
            return view(request)

    return guarded


@_for_staff
def enter(request: HttpRequest) -> HttpResponse:
    """The step after the password."""
    target = _next(request)
    if second_factor.owed(request) != CODE:
        return HttpResponseRedirect(target)
    wrong = False
    if request.method == "POST":
        if (refused := _refuse_guesses(request)) is not None:
            return refused
        if second_factor.accept(request.user, request.POST.get("code", "")):
            second_factor.let_in(request)
            return HttpResponseRedirect(target)
        if _is_too_many(request):
            return problem_response(CODES.problem)
        wrong = True
    return _page(request, "enter", "Second factor", next=target, problem=WRONG if wrong else "")


@_for_staff
def account(request: HttpRequest) -> HttpResponse:
    """One's own factor: set up, renew the backup codes, turn off."""
    if second_factor.owed(request) == CODE:
        return HttpResponseRedirect(where_to_go(request) or "")
    if request.method == "GET":
        return _account_page(request)
    if request.POST.get("action") == "begin":
        second_factor.begin(request.user)
        return HttpResponseRedirect(request.path)
    act = {"confirm": _confirm, "renew": _renew, "turn-off": _turn_off}.get(request.POST.get("action", ""))
    if act is None:
        return HttpResponseRedirect(request.path)
    if (refused := _refuse_guesses(request)) is not None:
        return refused
    done = act(request)
    if done is not None:
        return done
    return problem_response(CODES.problem) if _is_too_many(request) else _account_page(request, WRONG)


def _is_too_many(request: HttpRequest) -> bool:
    """Counts a wrong code."""
    staff_failures.note(request, "code")
    return CODES.count(request)


def _confirm(request: HttpRequest) -> HttpResponse | None:
    codes = second_factor.confirm(request.user, request.POST.get("code", ""))
    if not codes:
        return None
    second_factor.let_in(request)
    note(request.user, "Second factor turned on.")
    return _page(request, "codes", "The second factor is on", codes=codes, is_new=True)


def _renew(request: HttpRequest) -> HttpResponse | None:
    if not second_factor.accept(request.user, request.POST.get("code", "")):
        return None
    codes = second_factor.renew_backup_codes(request.user)
    note(request.user, "Backup codes of the second factor renewed.")
    return _page(request, "codes", "New backup codes", codes=codes, is_new=False)


def _turn_off(request: HttpRequest) -> HttpResponse | None:
    if not second_factor.accept(request.user, request.POST.get("code", "")):
        return None
    second_factor.remove(request.user)
    note(request.user, "Second factor turned off.")
    messages.success(request, "The second factor is off. The password alone logs in.")
    return HttpResponseRedirect(request.path)


def _account_page(request: HttpRequest, problem: str = "") -> HttpResponse:
    factor, pending = second_factor.confirmed(request.user), second_factor.pending(request.user)
    more: dict[str, object] = {"factor": factor, "problem": problem}
    if pending is not None:
        more |= _shown_key(pending, request.user.get_username())
    return _page(request, "account", "Second factor", required=settings.STAFF_TOTP == REQUIRED, **more)


def _shown_key(pending: StaffSecondFactor, username: str) -> dict[str, object]:
    """Nothing when the key that encrypted it is gone: one begins again."""
    try:
        secret, address = second_factor.secret_of(pending), second_factor.address_of(pending, username)
    except SealError:
        return {}
    drawn = segno.make(address, error="m").svg_inline(
        scale=5, border=3, light="#fff", svgclass="qr", lineclass=None
    )
    picture = mark_safe(drawn)  # noqa: S308 - numbers of our own making, in no need of a policy's exception
    return {"picture": picture, "secret": " ".join(secret[n : n + 4] for n in range(0, len(secret), 4))}


def _page(request: HttpRequest, name: str, title: str, **more: object) -> HttpResponse:
    context = admin.site.each_context(request) | {"title": title} | more
    return render(request, f"admin/second_factor/{name}.html", context)


def _refuse_guesses(request: HttpRequest) -> HttpResponse | None:
    if not CODES.is_over(request):
        return None
    staff_failures.note(request, "code")
    return problem_response(CODES.problem)


def where_to_go(request: HttpRequest) -> str | None:
    """For who has given a password and owes something: the page for that, and where to go on afterwards."""
    user = request.user
    owes = second_factor.owed(request) if user.is_active and user.is_staff else ""
    if not owes:
        return None
    page = reverse("admin:second_factor" if owes == CODE else "admin:second_factor_account")
    return f"{page}?{urlencode({'next': _next(request)})}"


def _next(request: HttpRequest) -> str:
    """Only a page of this site."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    safe = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if safe else reverse("admin:index")
