"""When a provider's part in a call has to be over, and how long one may still wait for its next word."""

import time

from providers.errors import DeadlineError
from providers.types import Timeouts


class Deadline:
    """When a provider's part in a call has to be over. `ends` is monotonic seconds."""

    __slots__ = ("ends", "timeouts")

    def __init__(self, ends: float, timeouts: Timeouts) -> None:
        self.ends, self.timeouts = ends, timeouts

    def left(self) -> float:
        """Raises `DeadlineError("total")` when nothing is left."""
        left = self.ends - time.monotonic()
        if left <= 0:
            raise DeadlineError("total")
        return left

    def until(self, moment: float, which: str) -> tuple[float, str]:
        """Seconds to wait at most, up to a monotonic moment, and which deadline that is."""
        left, wanted = self.left(), moment - time.monotonic()
        if wanted <= 0:
            raise DeadlineError(which)
        return (wanted, which) if wanted < left else (left, "total")

    def within(self, limit_ms: int, which: str) -> tuple[float, str]:
        return self.until(time.monotonic() + limit_ms / 1000, which)
