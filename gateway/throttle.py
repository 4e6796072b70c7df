"""How often people may try: passwords, codes, pages. django-ratelimit counts, in this process's memory."""

from collections.abc import Callable
from typing import NamedTuple

from django.http import HttpRequest
from django_ratelimit.core import is_ratelimited

from gateway.edge.front import PEER
from gateway.errors import Problem


def peer_of(request: HttpRequest) -> str:
    """The caller's address as the accept stage found it, proxies considered."""
    scope = getattr(request, "scope", {})
    return scope.get(PEER) or request.META.get("REMOTE_ADDR", "")


def user_of(request: HttpRequest) -> str:
    return f"user {request.user.pk}"


class Throttle(NamedTuple):
    """`rate`: as django-ratelimit writes it, for example 5/m. `by`: each is counted by itself."""

    name: str
    rate: str
    by: tuple[Callable[[HttpRequest], str], ...]
    message: str

    @property
    def problem(self) -> Problem:
        return Problem(code="RATE_LIMIT", message=self.message, retry_after_ms=60_000)

    def is_over(self, request: HttpRequest) -> bool:
        return self._ask(request, increment=False)

    def count(self, request: HttpRequest) -> bool:
        """Whether this one is too many."""
        return self._ask(request, increment=True)

    def _ask(self, request: HttpRequest, *, increment: bool) -> bool:
        answers = [
            is_ratelimited(
                request,
                group=f"{self.name}.{key.__name__}",
                key=lambda _, asked, key=key: key(asked),
                rate=self.rate,
                increment=increment,
            )
            for key in self.by
        ]
        return any(answers)


LOGINS = Throttle("login", "5/m", (peer_of,), "Too many failed logins; wait a minute.")
PASSWORDS = Throttle("password", "5/m", (user_of, peer_of), "Too many wrong passwords; wait a minute.")
CODES = Throttle("code", "5/m", (user_of, peer_of), "Too many wrong codes; wait a minute.")
GUIDES = Throttle("guides", "60/m", (user_of,), "Too many pages at once; wait a minute.")
