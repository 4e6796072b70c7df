"""Who may watch the record as it is written: asked again while somebody watches, by his session."""

from typing import Any

from django.contrib.auth import get_user
from django.http import HttpRequest

from gateway.second_factor import may_enter
from gateway.sessions import SessionStore

PERMISSION = "telemetry.view_requestlog"


def may_watch(session: str) -> bool:
    """False once it has ended, or its user lost the role or the account. Asks the database."""
    if not session:
        return False
    request: Any = HttpRequest()
    request.session = SessionStore(session)
    request.user = get_user(request)
    return may_enter(request) and bool(request.user.has_perm(PERMISSION))
