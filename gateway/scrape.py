"""What `/metrics` and `manage.py metrics` tell: everything that all processes of this installation counted."""

import threading
from contextlib import suppress
from pathlib import Path

from gateway.gauges import own, shared
from gateway.runtime import Gateway
from telemetry.backlog import BacklogReader
from telemetry.exchange import Exchange
from telemetry.metrics import METRICS, State, snapshot, write_snapshot
from telemetry.prometheus import exposition


class Scrape:
    """One per process; from any thread. It reads and writes small files, so it is never used on the event loop."""

    def __init__(
        self, gateway: Gateway, state_folder: Path, journal_folder: Path, audit_folder: Path
    ) -> None:
        self._gateway, self._folder, self._audit = gateway, state_folder, audit_folder
        self._exchange = Exchange(state_folder / "metrics")
        self._backlog = BacklogReader(journal_folder)
        self._one_at_a_time = threading.Lock()

    def start(self) -> int:
        """How many other servers run on this state folder. Raises `OSError`."""
        with self._one_at_a_time:
            self._exchange.start()
            return self._exchange.others()

    def publish(self) -> None:
        """Every second: what this process counted, then the snapshot of all. Raises `OSError`."""
        with self._one_at_a_time:
            state = self._state()
            self._exchange.publish(state)
            self._exchange.bury()
            write_snapshot(self._folder, snapshot(self._exchange.merged(state).total))

    def text(self, accept: str) -> tuple[bytes, str]:
        """The text and its content type, as of now."""
        with self._one_at_a_time:
            state = self._state()
            with suppress(OSError):  # a full disk is told of every second, and the numbers are wanted then
                self._exchange.publish(state)
            total, live = self._exchange.merged(state)
            return exposition(total, live, shared(self._backlog, self._audit), accept)

    def stop(self) -> None:
        """Raises `OSError` when the last of it cannot be written."""
        try:
            self.publish()
        finally:
            self._exchange.stop()

    def _state(self) -> State:
        return METRICS.state(own(self._gateway))
