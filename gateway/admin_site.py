"""The admin site: the stock one, under our name, with bad logins limited and changes attributed."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django_ratelimit.core import is_ratelimited

from gateway.attribution import attributed
from gateway.console.home import home
from gateway.console.pages import PAGES, Page
from gateway.edge.front import PEER
from gateway.edge.pages import problem_response
from gateway.errors import Problem

TABLES = (
    ("Providers", "admin:providers_provider_changelist", "providers.view_provider"),
    ("Clients", "admin:clients_client_changelist", "clients.view_client"),
    ("Record", "admin:telemetry_requestlog_changelist", "telemetry.view_requestlog"),
)
"""The tables that stand in the navigation beside the pages: label, URL name, permission."""
LOGIN_RATE = "5/m"
LOGIN_GROUP = "admin.login"
TOO_MANY = Problem(code="RATE_LIMIT", message="Too many failed logins; wait a minute.", retry_after_ms=60_000)


class GatewayAdminSite(AdminSite):
    site_header = "LLM Caller"
    site_title = "LLM Caller"
    index_title = "Gateway"
    site_url = None
    # The sections stand above every page; a column of all tables beside them would take the room.
    enable_nav_sidebar = False

    def get_urls(self) -> list[URLPattern | URLResolver]:
        own = [path(page.path, self.admin_view(_guarded(page)), name=page.name) for page in PAGES]
        return own + super().get_urls()

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The stock page lists tables; ours tells how the gateway is, and the tables have a page of their own."""
        return home(request)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        return super().each_context(request) | {"navigation": self._navigation(request)}

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
            {"label": label, "url": url, "current": is_current(request.path, url)}
            for label, name, is_open in entries
            if is_open and (url := reverse(name))
        ]

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Five failed logins a minute from one address; the sixth, and all after it, are answered 429."""
        if request.method != "POST":
            return super().login(request, extra_context)
        if _failures(request, increment=False):
            return problem_response(TOO_MANY)
        response = super().login(request, extra_context)
        if not request.user.is_authenticated and _failures(request, increment=True):
            return problem_response(TOO_MANY)
        return response

    def admin_view(
        self, view: Callable[..., HttpResponse], cacheable: bool = False
    ) -> Callable[..., HttpResponse]:
        inner = super().admin_view(view, cacheable)

        def attributing(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            with attributed(request.user.get_username(), "changed in the admin"):
                return inner(request, *args, **kwargs)

        return attributing


def _guarded(page: Page) -> Callable[..., HttpResponse]:
    def view(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not page.is_open_to(request):
            raise PermissionDenied
        return page.view(request, *args, **kwargs)

    return view


def is_current(path: str, url: str) -> bool:
    """The home page is only itself; of the others, what lies below them is theirs too."""
    return path == url if url == reverse("admin:index") else path.startswith(url)


def _failures(request: HttpRequest, *, increment: bool) -> bool:
    return bool(
        is_ratelimited(
            request, group=LOGIN_GROUP, key=peer_key, rate=LOGIN_RATE, method="POST", increment=increment
        )
    )


def peer_key(group: str, request: HttpRequest) -> str:
    """The caller's address as the accept stage found it, proxies considered."""
    return peer_of(request)


def peer_of(request: HttpRequest) -> str:
    scope = getattr(request, "scope", {})
    return scope.get(PEER) or request.META.get("REMOTE_ADDR", "")
