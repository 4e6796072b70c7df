"""How often people may try: passwords, codes, pages. django-ratelimit counts, in this process's memory."""

import threading
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from django.http import HttpRequest
from django_ratelimit.core import is_ratelimited

from gateway.edge.front import PEER
from gateway.errors import Problem

ONE_GUESS = threading.Lock()
"""Held from asking to counting: guesses made at once are judged one after the other, and hashed so as well."""


def peer_of(request: HttpRequest) -> str:
    """The caller's address as the accept stage found it, proxies considered; of those that one machine has by the
    million, all as one."""
    scope = getattr(request, "scope", {})
    text = scope.get(PEER) or request.META.get("REMOTE_ADDR", "")
    try:
        address = ip_address(text)
    except ValueError:
        return str(text)
    if address.is_loopback:
        return "loopback"
    return str(ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def name_of(request: HttpRequest) -> str:
    return f"name {request.POST.get('username', '').lower()[:150]}"


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
NAMES = Throttle("login", "20/m", (name_of,), "Too many failed logins; wait a minute.")
"""Higher than by address: whoever guesses at a name from many addresses also holds up its owner."""
PASSWORDS = Throttle("password", "5/m", (user_of, peer_of), "Too many wrong passwords; wait a minute.")
CODES = Throttle("code", "5/m", (user_of, peer_of), "Too many wrong codes; wait a minute.")
EXPORTS = Throttle("exports", "10/m", (user_of,), "Too many exports in a minute; wait a minute.")
GUIDES = Throttle("guides", "60/m", (user_of,), "Too many pages in a minute; wait a minute.")
