"""Wrong passwords and codes of staff, beside the failed authentication of clients: summed up by address and minute."""

import time
from typing import Literal

from django.http import HttpRequest

from gateway import live
from gateway.edge.front import PEER

Kind = Literal["password", "code"]


def note(request: HttpRequest, kind: Kind) -> None:
    """From any thread. Never the name that was tried: people type passwords there."""
    gateway = live.current()
    if gateway is None:
        return  # no server: a test, or a shell
    address = getattr(request, "scope", {}).get(PEER) or request.META.get("REMOTE_ADDR") or "unknown"
    gateway.metrics.count(f"failed_authentication_{kind}")
    gateway.failed_authentication.note(address=address, kind=kind, route=request.path, now=time.time())
