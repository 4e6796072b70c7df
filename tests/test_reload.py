"""The thread that watches the configuration: what it must not miss, and how it tells of a database in trouble."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import provider_entry, running_gateway
from django.core.management import CommandError, call_command
from django.db import DatabaseError, OperationalError, connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone
from fake_provider import FakeProvider

from clients.loader import issue
from clients.models import ClientToken
from gateway.configfile import peppers
from gateway.models import ConfigVersion
from gateway.reload import Watcher, build_policy, load_runtime
from gateway.runtime import Runtime

pytestmark = pytest.mark.django_db(transaction=True)
WITHIN_S = 10


def ignore(_: Runtime) -> None:
    """For tests that look at something else."""


class InMemory(Watcher):
    """Django leaves a database in memory open when it is closed, in each thread that had it."""

    def _run(self) -> None:
        super()._run()
        BaseDatabaseWrapper.close(connections["default"])


@contextmanager
def watching(on_change: Callable[[Runtime], None] = ignore) -> Iterator[Watcher]:
    watcher = InMemory(load_runtime(build_policy()), on_change)
    watcher.start()
    try:
        yield watcher
    finally:
        watcher.stop()


@contextmanager
def no_versions() -> Iterator[None]:
    """A damaged database: the table of versions is not there."""

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    rename("gateway_configversion", "lost")
    yield
    rename("lost", "gateway_configversion")


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_version_that_is_committed_after_a_higher_one_is_loaded_too() -> None:
    ConfigVersion.objects.create(pk=7)
    loaded = threading.Semaphore(0)
    with watching(lambda _: loaded.release()):
        ConfigVersion.objects.create(pk=9)
        assert loaded.acquire(timeout=WITHIN_S)
        ConfigVersion.objects.create(pk=8)
        assert loaded.acquire(timeout=WITHIN_S)
        assert not loaded.acquire(timeout=1), "and once only"


def test_a_task_for_which_the_database_was_busy_runs_again_and_one_that_fails_does_not() -> None:
    ran: list[str] = []
    over = threading.Event()

    def busy_once() -> None:
        ran.append("busy")
        if len(ran) == 1:
            raise OperationalError("database is locked")

    def broken() -> None:
        ran.append("broken")
        raise ValueError("a defect")

    with watching() as watcher:
        for task in (busy_once, broken, over.set):
            watcher.soon(task)
        assert over.wait(WITHIN_S)
    assert ran == ["busy", "busy", "broken"]


def test_a_revocation_that_the_processes_are_not_told_of_is_none() -> None:
    token_id = issue("bob", (), peppers()[0]).token_id
    with no_versions(), pytest.raises(DatabaseError):
        call_command("revoke_token", token_id)
    assert ClientToken.objects.get().revoked_at is None
    call_command("revoke_token", token_id)
    assert ClientToken.objects.get().revoked_at is not None
    version = ConfigVersion.objects.first()
    assert version is not None
    assert (version.author, version.reason) == ("revoke_token", f"token {token_id} revoked")
    with pytest.raises(CommandError, match="There is no token with the id nobody"):
        call_command("revoke_token", "nobody")


def test_a_second_revocation_makes_up_for_one_that_no_process_was_told_of() -> None:
    token_id = issue("bob", (), peppers()[0]).token_id
    moment = timezone.now()
    ClientToken.objects.update(revoked_at=moment)
    before = ConfigVersion.objects.count()
    call_command("revoke_token", token_id)
    assert ConfigVersion.objects.count() == before + 1
    assert ClientToken.objects.get().revoked_at == moment


def test_a_database_that_cannot_be_read_is_told_by_health_and_once_in_the_log(
    tmp_path: Path, fake: FakeProvider
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("a server keeps its files to itself")
    with running_gateway(tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}) as gateway:
        assert part(gateway, "database") == ("ok", None)
        for path in (tmp_path / "var").glob("*.sqlite3*"):
            with path.open("r+b") as file:
                file.write(b"garbage " * 1024)
        until(lambda: part(gateway, "database")[0] == "failed")
        assert part(gateway, "database")[1] == "The database cannot be read (DatabaseError)"
        assert gateway.chat().status_code == 200, "calls need no database"
        time.sleep(3)  # seven looks at it
        told = [line for line in gateway.log_lines() if line["level"] == "error"]
        assert [line["message"] for line in told].count("The database cannot be read") == 1
        assert len(told) < 5, told
        damaged = next((tmp_path / "var").glob("*.sqlite3"))
        with closing(sqlite3.connect(damaged)) as opened, pytest.raises(sqlite3.DatabaseError):
            opened.execute("SELECT 1 FROM auth_user")


def part(gateway: Any, name: str) -> tuple[str, str | None]:
    components = gateway.get("/health").json()["components"]
    return next((c["status"], c.get("details")) for c in components if c["name"] == name)
