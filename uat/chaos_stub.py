"""The bench's provider, which writes down every call that reaches it.

    chaos_stub.py PORT FILE

A line `asked ID` is in the file before anything of an answer is sent, a line `ended ID` before the last of it;
ID is what the user's message is. Answers take up to 20 ms, so that a kill finds calls in flight.
"""

import asyncio
import os
import random
import re
import sys
from pathlib import Path
from typing import NamedTuple

import uvloop
from bench_stub import Stub

EVENTS, GAP_S, DELAY_S = 4, 0.004, 0.02
_ID = re.compile(rb"call-[0-9]+")


class Told(NamedTuple):
    asked: list[str]
    ended: set[str]


def read(path: Path) -> Told:
    lines = [line.split() for line in path.read_text().splitlines()]
    return Told(
        [name for verb, name in lines if verb == "asked"], {name for verb, name in lines if verb == "ended"}
    )


class WritingStub(Stub):
    def __init__(self, file: int) -> None:
        super().__init__(EVENTS, GAP_S)
        self.file, self.asked_for = file, b""

    def answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            super().answer(head, body)
            return
        match = _ID.search(body)
        assert match is not None, "the load names every call"
        self.asked_for = match[0]
        os.write(self.file, b"asked %b\n" % self.asked_for)
        asyncio.get_running_loop().call_later(random.uniform(0, DELAY_S), self.late, head, body)

    def late(self, head: bytes, body: bytes) -> None:
        if not self.transport.is_closing():
            super().answer(head, body)

    def end(self, data: bytes) -> None:
        os.write(self.file, b"ended %b\n" % self.asked_for)
        super().end(data)


async def main() -> None:
    file = os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: WritingStub(file), "127.0.0.1", int(sys.argv[1]), backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
