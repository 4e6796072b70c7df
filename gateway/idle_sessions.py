"""Sessions end so long after their last request, not after their login.

Django counts from the last time that a session was stored. Storing it at every request would be a write for
every page; once in a while is enough, and no session lasts longer than it should.
"""

import time
from collections.abc import Callable
from typing import Any

from django.contrib.auth.signals import user_logged_in
from django.http import HttpRequest, HttpResponse

SEEN = "seen"
STORE_AFTER_S = 600


class IdleSessions:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.user.is_authenticated and _now() - request.session.get(SEEN, 0) > STORE_AFTER_S:
            request.session[SEEN] = _now()
        return self._get_response(request)


def _begin(sender: Any, request: HttpRequest, **_: Any) -> None:
    """A login stores its session anyway."""
    request.session[SEEN] = _now()


def _now() -> int:
    return int(time.time())


def watch() -> None:
    user_logged_in.connect(_begin, dispatch_uid="gateway.idle_sessions")
