"""The admin site: the stock one, under our name, with bad logins limited and changes attributed."""

from collections.abc import Callable
from typing import Any

from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django_ratelimit.core import is_ratelimited

from gateway.attribution import attributed
from gateway.edge.front import PEER
from gateway.edge.pages import problem_response
from gateway.errors import Problem

LOGIN_RATE = "5/m"
LOGIN_GROUP = "admin.login"
TOO_MANY = Problem(code="RATE_LIMIT", message="Too many failed logins; wait a minute.", retry_after_ms=60_000)


class GatewayAdminSite(AdminSite):
    site_header = "LLM Caller"
    site_title = "LLM Caller"
    index_title = "Gateway"
    site_url = None
    enable_nav_sidebar = True

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
