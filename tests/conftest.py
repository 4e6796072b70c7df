"""The cast and the stage: a real gateway process, a real provider on a real socket, a real database.

Ada is the operator, Bob a client with every grant, Charlie a client with none but health, Olga an auditor.
"""

import functools
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_django.plugin import blocking_manager_key

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
import prefork  # noqa: E402 - the path is set above
from environment import DATABASE, SECRETS  # noqa: E402
from fake_provider import FakeProvider  # noqa: E402

BOB, CHARLIE = "bob-token", "charlie-token"
ALL_METHODS = ["chat", "chatStream", "embed", "getHealth", "models"]


unblocked: Callable[[], AbstractContextManager[object]] = nullcontext
"""Within it the database may be asked. Where gateways run for something else than a test, it may be anyway."""


def pytest_configure(config: pytest.Config) -> None:
    global unblocked
    unblocked = lambda: config.stash[blocking_manager_key].unblock()  # noqa: E731 - set after this hook


def provider_entry(url: str, **more: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "baseUrl": url,
        "defaultModel": "echo",
        "capabilities": ["chat", "chatStream", "embed"],
        "defaults": {"chat": "echo", "chatStream": "echo", "embed": "embed-3"},
    }
    return entry | more


def registry(*more: dict[str, Any]) -> dict[str, Any]:
    bob = {"toolId": "bob", "token": BOB, "allowedMethods": ALL_METHODS}
    charlie = {"toolId": "charlie", "token": CHARLIE, "allowedMethods": ["getHealth"]}
    return {"clients": [bob, charlie, *more]}


def chat_body(text: str = "hello", **more: Any) -> dict[str, Any]:
    return {"requestId": "r-1", "callerTool": "bob", "messages": [{"role": "user", "content": text}]} | more


_PORTS = itertools.cycle(random.sample(range(15_000, 32_000), 5_000))


def free_port() -> int:
    """Not one of those that the system gives to connections: another test might have it before it is listened at."""
    for port in _PORTS:
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("the ports never end")


def own_database() -> str:
    """A new, empty database where the tests run on a server; nothing where each state folder has its own file."""
    if not DATABASE:
        return ""
    import psycopg

    name = f"gateway_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(DATABASE, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return f"{DATABASE.rpartition('/')[0]}/{name}"


class RunningGateway:
    """A gateway in a process of its own. `log_lines()` are its stdout; `records()` its RequestLog rows."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("LLM_CALLER_")},
            **{name: os.environ[name] for name in SECRETS},
            "LLM_CALLER_ENV_FILE": "tests/no-such.env",
            "LLM_CALLER_STATE_DIR": str(folder / "var"),
            "LLM_CALLER_CONFIG_DIR": str(folder / "config"),
            "LLM_CALLER_PORT": str(self.port),
            "LLM_CALLER_HEALTH_INTERVAL_S": "1",
            "DATABASE_URL": own_database(),
            **env,
        }
        self.process: subprocess.Popen[bytes] | prefork.Forked | None = None
        self.client = httpx.Client(base_url=self.url, timeout=30, trust_env=False)

    @property
    def database(self) -> Path:
        """Where each state folder has its own file."""
        return Path(self.env["LLM_CALLER_STATE_DIR"]) / "llm-caller.sqlite3"

    def manage(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            code = self._run(arguments, out.fileno(), err.fileno()).wait()
            out.seek(0)
            err.seek(0)
            done = subprocess.CompletedProcess(arguments, code, out.read(), err.read())
        assert not check or done.returncode == 0, done.stderr
        return done

    def _run(self, arguments: Sequence[str], out: int, err: int) -> subprocess.Popen[bytes] | prefork.Forked:
        if prefork.fits(self.env):
            return prefork.start(ROOT / "manage.py", arguments, self.env, out, err)
        command = [sys.executable, str(ROOT / "manage.py"), *arguments]
        return subprocess.Popen(command, env=self.env, cwd=ROOT, stdout=out, stderr=err)

    @contextmanager
    def without_table(self, table: str) -> Iterator[None]:
        """A damaged database: what reads or writes there fails half-way, in the middle of what it was doing."""

        def rename(old: str, new: str) -> None:
            sql = f"ALTER TABLE {old} RENAME TO {new}"
            code = f"from django.db import connection; connection.cursor().execute({sql!r})"
            self.manage("shell", "-v", "0", "-c", code)

        rename(table, f"{table}_lost")
        yield
        rename(f"{table}_lost", table)

    def configure(self, providers: dict[str, Any] | None, clients: dict[str, Any] | None) -> None:
        folder = self.folder / "config"
        folder.mkdir(exist_ok=True)
        for name, document in (("providers.json", providers), ("client-registry.json", clients)):
            if document is not None:
                (folder / name).write_text(json.dumps(document))

    def start(self, *, ready: bool = True, command: Sequence[str] = ()) -> None:
        """`command`: instead of the one that serves."""
        self.stdout, self.stderr = self.folder / "stdout.log", self.folder / "stderr.log"
        with self.stdout.open("ab") as out, self.stderr.open("ab") as err:
            if command:
                self.process = subprocess.Popen(command, env=self.env, cwd=ROOT, stdout=out, stderr=err)
            else:
                self.process = self._run(["serve"], out.fileno(), err.fileno())
        if ready:
            self.wait_ready(60)

    def wait_ready(self, seconds: float = 30) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.process is None or self.process.poll() is None, self.stderr.read_text()
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError("the gateway did not become ready: " + self.stderr.read_text())

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(60)
        self.process = None
        return code

    def close(self) -> None:
        self.client.close()
        if self.process is not None:
            self.stop()

    def post(self, path: str, body: Any, *, token: str | None = BOB, **headers: str) -> httpx.Response:
        if token is not None:
            headers["X-LLM-Caller-Token"] = token
        return self.client.post(path, json=body, headers=headers)

    def get(self, path: str, *, token: str | None = BOB) -> httpx.Response:
        headers = {"X-LLM-Caller-Token": token} if token is not None else {}
        return self.client.get(path, headers=headers)

    def chat(self, text: str = "hello", *, token: str | None = BOB, **more: Any) -> httpx.Response:
        return self.post("/mcp/chat", chat_body(text, **more), token=token)

    @contextmanager
    def stream(self, text: str = "hello", *, token: str = BOB, **more: Any) -> Iterator[httpx.Response]:
        headers = {"X-LLM-Caller-Token": token}
        body = chat_body(text, **more)
        with self.client.stream("POST", "/mcp/chatStream", json=body, headers=headers) as response:
            yield response

    def frames(self, text: str = "hello", **more: Any) -> list[Any]:
        """The parsed frames of a whole stream; `[DONE]` and comments as text."""
        with self.stream(text, **more) as response:
            assert response.status_code == 200, response.read()
            return parse_frames(response.read())

    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.read_text().splitlines()]

    def wait_for_lines(self, message: str, count: int = 1, seconds: float = 5) -> list[dict[str, Any]]:
        """The lines with this in their message. A thread writes the log: a line may come after what it tells of."""
        until = time.monotonic() + seconds
        while True:
            lines = [line for line in self.log_lines() if message in line["message"]]
            if len(lines) >= count or time.monotonic() > until:
                return lines
            time.sleep(0.02)

    def records(self, **conditions: Any) -> list[dict[str, Any]]:
        """In a thread of its own, which has connections of its own."""
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self._records, conditions).result()

    def _records(self, conditions: dict[str, Any]) -> list[dict[str, Any]]:
        from django.db import connections
        from django.db.utils import load_backend

        from telemetry.models import RequestLog

        name = self.env["DATABASE_URL"].rpartition("/")[2] or str(self.database)
        place = {**connections.databases["default"], "NAME": name}
        own = load_backend(place["ENGINE"]).DatabaseWrapper(place, alias="gateway")
        connections["gateway"] = own
        with unblocked(), closing(own):
            rows = list(RequestLog.objects.using("gateway").filter(**conditions).order_by("pk").values())
        told: list[dict[str, Any]] = json.loads(json.dumps(rows, default=str))
        return told

    def wait_for_records(self, count: int, seconds: float = 5, **conditions: Any) -> list[dict[str, Any]]:
        """Asks until so many rows are there; the last answer when they never are."""
        until = time.monotonic() + seconds
        while True:
            rows = self.records(**conditions)
            if len(rows) >= count or time.monotonic() > until:
                return rows


def parse_frames(raw: bytes) -> list[Any]:
    frames: list[Any] = []
    for block in raw.split(b"\n\n"):
        if block.startswith(b"data: "):
            data = block.removeprefix(b"data: ")
            frames.append("[DONE]" if data == b"[DONE]" else json.loads(data))
        elif block:
            frames.append(block.decode())
    return frames


@contextmanager
def slow_reader(gateway: RunningGateway, body: dict[str, Any]) -> Iterator[HTTPResponse]:
    """Bob's stream, of which the system takes only a few KB that were not read."""
    data = json.dumps(body).encode()
    head = (
        f"POST /mcp/chatStream HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nX-LLM-Caller-Token: {BOB}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", gateway.port))
        connection.sendall(head.encode() + data)
        with closing(HTTPResponse(connection)) as answer:
            answer.begin()
            yield answer


@functools.cache
def prepared_state() -> Path:
    """A state folder with a database that has its tables and nothing in them, and with static files: to make these is
    most of what `prepare` does."""
    folder = Path(tempfile.mkdtemp(prefix="prepared-", dir=os.environ["LLM_CALLER_STATE_DIR"]))
    with closing(RunningGateway(folder, {"DATABASE_URL": ""})) as gateway:
        gateway.database.parent.mkdir(mode=0o700)
        gateway.manage("migrate", "--no-input")
        collected = "import sys; from gateway.static_files import collect; collect(sys.stderr)"
        gateway.manage("shell", "-v", "0", "-c", collected)
        return gateway.database.parent


@contextmanager
def running_gateway(
    folder: Path,
    providers: dict[str, Any],
    clients: dict[str, Any] | None = None,
    env: dict[str, str] | None = None,
    *,
    start: bool = True,
) -> Iterator[RunningGateway]:
    """A prepared gateway with these files imported; stopped at the end."""
    with closing(RunningGateway(folder, env or {})) as gateway:
        gateway.configure(providers, clients or registry())
        if not gateway.env["DATABASE_URL"]:
            shutil.copytree(prepared_state(), gateway.database.parent, dirs_exist_ok=True)
        gateway.manage("prepare", "--no-uat-token")
        if start:
            gateway.start()
        yield gateway


@pytest.fixture
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def shared_fake() -> Iterator[FakeProvider]:
    with FakeProvider() as provider:
        yield provider


@pytest.fixture(scope="module")
def shared(shared_fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """One gateway for the tests of a module that do not change its configuration."""
    providers = {"providers": {"lmstudio_fake": provider_entry(shared_fake.url)}}
    env = {"LLM_CALLER_FIRST_EVENT_TIMEOUT_MS": "1500", "LLM_CALLER_IDLE_TIMEOUT_MS": "1000"}
    with running_gateway(tmp_path_factory.mktemp("gateway"), providers, env=env) as gateway:
        yield gateway
