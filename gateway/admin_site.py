"""The admin site: the stock one, under our name, with bad logins limited and changes attributed."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from django.apps import apps
from django.contrib.admin import AdminSite, ModelAdmin
from django.core.exceptions import PermissionDenied
from django.db import DataError
from django.db.models.base import ModelBase
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse

from gateway import second_factor, staff_failures
from gateway.attribution import IN_THE_ADMIN, attributed
from gateway.console import second_factor as pages
from gateway.console.home import home
from gateway.console.pages import PAGES, Page
from gateway.edge.pages import problem_response
from gateway.errors import Problem
from gateway.lost_updates import guarded
from gateway.plain_numbers import PlainNumbersAdmin
from gateway.throttle import LOGINS, NAMES, ONE_GUESS, PASSWORDS, Throttle

TABLES = (
    ("Providers", "admin:providers_provider_changelist", "providers.view_provider"),
    ("Clients", "admin:clients_client_changelist", "clients.view_client"),
    ("Record", "admin:telemetry_requestlog_changelist", "telemetry.view_requestlog"),
)
"""The tables that stand in the navigation beside the pages: label, URL name, permission."""
BELONGING = {
    "Providers": ("providers/",),
    "Clients": ("clients/",),
    "Record": ("telemetry/", "record/"),
    "Configuration": ("gateway/config",),
    "All tables": ("auth/", "gateway/staff"),
}
"""Which other addresses below the admin's are a section's, by its label: the tables that are reached from there."""


NO_SUCH_NUMBER = Problem(code="BAD_REQUEST", message="A number is out of range", reason="NUMBER_OUT_OF_RANGE")


class GatewayAdminSite(AdminSite):
    site_header = "LLM Caller"
    site_title = "LLM Caller"
    index_title = "Gateway"
    site_url = None
    # The sections stand above every page; a column of all tables beside them would take the room.
    enable_nav_sidebar = False

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """The apps' own admins, which may not know the gateway, get here what all change forms have."""
        models = [model_or_iterable] if isinstance(model_or_iterable, ModelBase) else model_or_iterable
        for model in models:
            super().register(model, guarded(model, _plain(admin_class or ModelAdmin)), **options)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        own = [path(page.path, self.admin_view(_guarded(page)), name=page.name) for page in PAGES]
        # Open to who has given a password only, and therefore not behind `admin_view`.
        own += [
            path("second-factor/", pages.enter, name="second_factor"),
            path("second-factor/account/", pages.account, name="second_factor_account"),
        ]
        return own + super().get_urls()

    def has_permission(self, request: HttpRequest) -> bool:
        return second_factor.may_enter(request)

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The stock page lists tables; ours tells how the gateway is, and the tables have a page of their own."""
        return home(request)

    def app_index(
        self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        title = {"title": apps.get_app_config(app_label).verbose_name}
        return super().app_index(request, app_label, title | (extra_context or {}))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        more = {
            "navigation": self._navigation(request),
            "second_factor_offered": second_factor.is_offered(),
        }
        return super().each_context(request) | more

    def _navigation(self, request: HttpRequest) -> list[dict[str, Any]]:
        if not self.has_permission(request):
            return []
        entries = [("Home", "admin:index", True)]
        entries += [(label, url, request.user.has_perm(needed)) for label, url, needed in TABLES]
        entries += [
            (page.label, f"admin:{page.name}", page.is_open_to(request)) for page in PAGES if page.label
        ]
        entries.append(("Guides", "docs", True))
        return [
            {"label": label, "url": url, "current": is_current(request.path, url, BELONGING.get(label, ()))}
            for label, name, is_open in entries
            if is_open and (url := reverse(name))
        ]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Five failed logins a minute from one address; the sixth, and all after it, are answered 429."""
        if request.method != "POST":
            owed = pages.where_to_go(request)
            return HttpResponseRedirect(owed) if owed else super().login(request, extra_context)
        # A good login leads on; after a bad one the form comes back.
        attempt = partial(super().login, request, extra_context)
        return _tried((LOGINS, NAMES), request, attempt, failed=lambda response: response.status_code == 200)

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Five wrong old passwords a minute; a new one that is refused is no guess."""
        attempt = partial(super().password_change, request, extra_context)
        if request.method != "POST":
            return attempt()
        return _tried((PASSWORDS,), request, attempt, failed=_old_password_was_wrong)

    def admin_view(
        self, view: Callable[..., HttpResponse], cacheable: bool = False
    ) -> Callable[..., HttpResponse]:
        inner = super().admin_view(view, cacheable)

        def attributing(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            with attributed(request.user.get_username(), IN_THE_ADMIN):
                try:
                    return inner(request, *args, **kwargs)
                except (OverflowError, DataError):
                    # A number in the address or the form that no column holds: there is no such row.
                    return problem_response(NO_SUCH_NUMBER)

        return attributing


def _plain(admin: type[ModelAdmin]) -> type[ModelAdmin]:
    return type(admin.__name__, (PlainNumbersAdmin, admin), {"__module__": admin.__module__})


def _tried(
    throttles: Sequence[Throttle],
    request: HttpRequest,
    attempt: Callable[[], HttpResponse],
    failed: Callable[[HttpResponse], bool],
) -> HttpResponse:
    with ONE_GUESS:
        for throttle in throttles:
            if throttle.is_over(request):
                staff_failures.note(request, "password")
                return problem_response(throttle.problem)
        response = attempt()
        if failed(response):
            staff_failures.note(request, "password")
            over = [throttle for throttle in throttles if throttle.count(request)]
            return problem_response(over[0].problem) if over else response
    return response


def _old_password_was_wrong(response: HttpResponse) -> bool:
    context = getattr(response, "context_data", None) or {}
    return "form" in context and "old_password" in context["form"].errors


def _guarded(page: Page) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not page.is_open_to(request):
            raise PermissionDenied
        return page.view(request, *args, **kwargs)

    return view


def is_current(path: str, url: str, belonging: Sequence[str] = ()) -> bool:
    """The home page is only itself; of the others, what lies below them is theirs too, and what belongs to them."""
    home = reverse("admin:index")
    return path == url if url == home else path.startswith((url, *(home + below for below in belonging)))
