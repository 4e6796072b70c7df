"""How an application that sends faster than its client reads is held back."""

import asyncio


class Flow:
    """Holds the application back while the client does not read what was sent."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.open.set()

    def pauseProducing(self) -> None:
        self.open.clear()

    def resumeProducing(self) -> None:
        self.open.set()

    def stopProducing(self) -> None:
        self.open.set()
