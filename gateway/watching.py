"""Who may watch the record as it is written: asked again while somebody watches, by his session."""

from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.http import HttpRequest, parse_cookie

from gateway.second_factor import may_enter

PERMISSION = "telemetry.view_requestlog"


def session_of(headers: list[tuple[bytes, bytes]]) -> str:
    """The key of the session that a browser sends along; "" without one."""
    cookies = "; ".join(value.decode("latin-1") for name, value in headers if name == b"cookie")
    return str(parse_cookie(cookies).get(settings.SESSION_COOKIE_NAME, ""))


def may_watch(session: str) -> bool:
    """False once it has ended, or its user lost the role or the account. Asks the database."""
    if not session:
        return False
    request: Any = HttpRequest()
    request.session = import_module(settings.SESSION_ENGINE).SessionStore(session)
    request.user = get_user(request)
    return may_enter(request) and bool(request.user.has_perm(PERMISSION))
