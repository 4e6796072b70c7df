"""Python processes that begin with the libraries loaded: imports are most of what a test with a gateway waits for.

One process per process of tests imports what others have written, nothing of the product and no settings of Django,
and forks for each command it is told of. Such a child reads its environment, its arguments and all of the product as
one that was started anew. Tests of the start itself, of names and sizes of processes, start theirs in the usual way.
"""

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import resource
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

LIBRARIES = (
    *("aiohttp", "argon2.low_level", "attr", "email.mime.text", "email.parser", "httpx", "httpx_aiohttp", "logging.config"),
    *("markdown_it", "markdown_it.main", "msgspec", "prometheus_client", "psycopg", "segno", "sqlparse", "uuid"),
    *("concurrent.futures.thread", "cryptography.hazmat.primitives.asymmetric.ed25519"),
    *("cryptography.hazmat.primitives.ciphers.aead", "cryptography.x509", "rich.console", "rich.table", "yaml"),
    *("django.apps", "django.conf", "django.conf.urls.static", "django.core.asgi", "django.core.cache.backends.locmem"),
    *("django.core.checks", "django.core.handlers.asgi", "django.core.mail", "django.core.management"),
    *("django.core.management.commands.migrate", "django.core.paginator", "django.core.serializers.json"),
    *("django.db.backends.sqlite3.base", "django.db.migrations.executor", "django.db.migrations.autodetector"),
    *("django.db.models", "django.forms", "django.forms.models", "django.middleware.csrf", "django.shortcuts"),
    *("django.template.defaultfilters", "django.template.loader", "django.test.signals", "django.urls"),
    *("django.utils.formats", "django.utils.html", "django.views.decorators.cache", "django.views.generic"),
    *("autobahn.twisted.websocket", "twisted.internet.asyncioreactor", "twisted.internet.endpoints"),
    *("twisted.logger", "twisted.protocols.tls", "twisted.web.http"),
)  # fmt: skip
LIMITS = ("RLIMIT_AS", "RLIMIT_FSIZE", "RLIMIT_NOFILE")
"""What a test sets for itself is to hold for its processes."""
READ_FIRST = ("PYTHON", "LANG", "LC_")
"""Variables that an interpreter reads before its first line."""


class Forked:
    """As much of `subprocess.Popen` as tests of gateways ask for."""

    def __init__(self, pid: int, told: socket.socket) -> None:
        self.pid, self._told = pid, told
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
        return code

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = int(self._told.recv(16))
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


@functools.cache
def _server() -> socket.socket:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    with theirs:
        forks = subprocess.Popen(
            [sys.executable, __file__, str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
    atexit.register(forks.wait)
    atexit.register(ours.close)  # which ends it
    return ours


def fits(env: Mapping[str, str]) -> bool:
    """Whether a process with this environment begins as the one that forks."""

    def read_first(variables: Mapping[str, str]) -> dict[str, str]:
        return {name: value for name, value in variables.items() if name.startswith(READ_FIRST)}

    return read_first(env) == read_first(os.environ)


def start(script: Path, arguments: Sequence[str], env: Mapping[str, str], out: int, err: int) -> Forked:
    """`out`, `err`: file descriptors. Standard input is empty."""
    told, tells = socket.socketpair()
    limits = {name: resource.getrlimit(getattr(resource, name)) for name in LIMITS}
    asked = json.dumps({"argv": [str(script), *arguments], "env": dict(env), "limits": limits}).encode()
    with tells:
        socket.send_fds(_server(), [asked], [out, err, tells.fileno()])
    return Forked(int(told.recv(16)), told)


def serve(control: socket.socket) -> None:
    """Returns in the children alone, with what they are to run in `sys.argv`; ends when nobody is there any more."""
    wakes, wake = socket.socketpair()
    wake.setblocking(False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake.fileno())
    running: dict[int, int] = {}
    while True:
        ready = select.select([control, wakes], [], [])[0]
        if wakes in ready:
            wakes.recv(4096)
            _tell_of_ended(running)
        if control not in ready:
            continue
        asked, fds, *_ = socket.recv_fds(control, 1 << 20, 3)
        if not asked:
            sys.exit()
        out, err, tells = fds
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(out, 1)
            os.dup2(err, 2)
            for fd in (out, err, tells, *running.values()):
                os.close(fd)
            for end in (control, wakes, wake):
                end.close()
            _become(**json.loads(asked))
            return
        os.close(out)
        os.close(err)
        # Before it can have ended: whoever asked reads the number first.
        os.write(tells, f"{pid}".ljust(16).encode())
        running[pid] = tells


def _tell_of_ended(running: dict[int, int]) -> None:
    with contextlib.suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            tells = running.pop(ended[0])
            with contextlib.suppress(BrokenPipeError):
                os.write(tells, f"{os.waitstatus_to_exitcode(ended[1])}".encode())
            os.close(tells)


def _become(argv: list[str], env: dict[str, str], limits: dict[str, list[int]]) -> None:
    for name, (soft, hard) in limits.items():
        resource.setrlimit(getattr(resource, name), (soft, hard))
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = argv
    sys.path[0] = str(Path(argv[0]).parent)
    os.chdir(sys.path[0])


if __name__ == "__main__":
    for name in LIBRARIES:
        importlib.import_module(name)
    gc.freeze()
    serve(socket.socket(fileno=int(sys.argv[1])))
    gc.unfreeze()
    runpy.run_path(sys.argv[0], run_name="__main__")
