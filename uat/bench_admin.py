"""How quickly the admin's pages answer over a full database.

    .venv/bin/python uat/bench_admin.py                 # SQLite, in a folder of its own
    uat/with_postgresql.sh .venv/bin/python uat/bench_admin.py

Fills a scratch database with 1,000,000 calls of 30 days, 1,000 clients and 100 providers, sums the calls up as
the writer does, and prints for each page its queries and milliseconds: the median of five after a warm-up, through
Django's test client. A page above 300 ms, or whose queries are not the same each time, fails. On a machine that does
other things too, look at the processor's milliseconds (SQLite's are in them, PostgreSQL's not). `--rows N` for fewer, `--only configversion` for one.
"""

import argparse
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]
LIMIT_MS = 300
DAYS, CLIENTS, PROVIDERS = 30, 1_000, 100
OUTCOMES = ("ok",) * 94 + ("TEMPORARY", "RATE_LIMIT", "RATE_LIMIT", "BAD_REQUEST", "CLIENT_CLOSED", "AUTH")
REFUSED = ("RATE_LIMIT", "BAD_REQUEST")
PER_TABLE = 10_000
WITH_FILES = 100
"""The newest versions are real ones: four pages of the list. Both files in each of 10,000 would be a gigabyte."""


def prepare(server: str) -> str:
    """An empty database of this run's own; its name where it lies on a server."""
    folder = Path(tempfile.mkdtemp(prefix="llm-caller-bench-"))
    name = ""
    if server:
        import psycopg

        name = f"bench_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        os.environ["DATABASE_URL"] = f"{server.rpartition('/')[0]}/{name}"
    os.environ |= {"LLM_CALLER_STATE_DIR": str(folder), "LLM_CALLER_CONFIG_DIR": str(folder / "config")}
    os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    return name


def calls(rows: int, now: datetime) -> Iterator[Any]:
    """Evenly over the days; a few clients and providers have most of them."""
    from telemetry.models import RequestLog

    chance = random.Random(4037)
    began = now - timedelta(days=DAYS)
    for n in range(rows):
        outcome = chance.choice(OUTCOMES)
        sent = outcome not in REFUSED
        first = int(chance.lognormvariate(5, 1)) if sent else None
        yield RequestLog(
            call_id=uuid.UUID(int=chance.getrandbits(128)),
            request_id=f"request-{n}",
            trace_id=f"chatcmpl-{n:x}",
            tool_id=f"tool-{int(CLIENTS * chance.random() ** 2):04}",
            token_id=f"tok-{n % CLIENTS}",
            method=chance.choice(("chat", "chatStream", "chatStream", "embed")),
            peer="127.0.0.1",
            provider=f"provider-{int(PROVIDERS * chance.random() ** 2):03}" if sent else "",
            model="some-model",
            strategy="capability-default",
            attempts=[{"provider": "provider-000", "model": "some-model", "durationMs": 5}],
            outcome=outcome,
            status=200 if outcome == "ok" else 503 if sent else 429,
            started_at=began + timedelta(days=DAYS) * n / rows,
            first_event_ms=first,
            duration_ms=(first or 0) + int(chance.lognormvariate(7, 1)),
            input_tokens=chance.randrange(4_000),
            output_tokens=chance.randrange(1_000),
            config_version=1,
        )


def insert(rows: list[Any]) -> None:
    """What `bulk_create` does, in two thirds of its time."""
    from django.db import connection, transaction

    table = rows[0]._meta
    fields = [field for field in table.concrete_fields if not field.primary_key]
    names, places = ", ".join(field.column for field in fields), ", ".join(["%s"] * len(fields))
    values = [
        [field.get_db_prep_save(getattr(row, field.attname), connection) for field in fields] for row in rows
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.executemany(f"INSERT INTO {table.db_table} ({names}) VALUES ({places})", values)


def fill_record(rows: int, now: datetime) -> None:
    """Calls as a writer of an older version left them, then their roll-ups as the writer makes them."""
    from telemetry import rollups, uses
    from telemetry.models import CallRollup

    began = time.perf_counter()
    batch: list[Any] = []
    for row in calls(rows, now):
        batch.append(row)
        if len(batch) == 20_000 or row.request_id == f"request-{rows - 1}":
            insert(batch)
            batch.clear()
    print(f"{rows:,} calls stored in {time.perf_counter() - began:.0f} s", flush=True)
    began = time.perf_counter()
    rollups.rebuild(now)
    uses.rebuild(now)
    rollups.prune(now)
    print(f"{CallRollup.objects.count():,} roll-ups made in {time.perf_counter() - began:.0f} s", flush=True)


def fill_configuration(now: datetime) -> None:
    from clients.models import Client, ClientToken, MethodPermission
    from gateway.models import ConfigChange, ConfigVersion
    from providers.models import ModelAlias, Provider, ProviderCapability, ProviderModel

    providers = Provider.objects.bulk_create(
        Provider(
            name=f"provider-{n:03}",
            kind="lmstudio",
            base_url="http://localhost:1234/v1",
            default_model="m",
            position=n,
        )
        for n in range(PROVIDERS)
    )
    for provider in providers:
        ProviderCapability.objects.create(provider=provider, capability="chat", score=50)
        ModelAlias.objects.create(name=f"alias-{provider.name}", provider=provider, model_id="m")
    ProviderModel.objects.bulk_create(
        ProviderModel(provider=provider, model_id=f"model-{n}") for provider in providers for n in range(100)
    )
    clients = Client.objects.bulk_create(Client(tool_id=f"tool-{n:04}", position=n) for n in range(CLIENTS))
    MethodPermission.objects.bulk_create(
        MethodPermission(client=client, method=method) for client in clients for method in ("chat", "embed")
    )
    ClientToken.objects.bulk_create(
        ClientToken(
            client=client,
            token_id=f"tok-{n}",
            key_id="k",
            digest=f"{n:064x}",
            expires_at=now + timedelta(days=n) if n % 2 else None,
            last_used_at=now - timedelta(days=n % 60),
        )
        for n, client in enumerate(clients)
    )
    ClientToken.objects.update(created_at=now - timedelta(days=90))
    ConfigVersion.objects.bulk_create(
        ConfigVersion(author="ada", reason="Client tool-0000 changed: notes", added=0, changed=1, removed=0)
        for _ in range(PER_TABLE - WITH_FILES)
    )
    change_clients(WITH_FILES)
    ConfigChange.objects.bulk_create(
        ConfigChange(author="ada", table="client", row=f"tool-{n}", action="changed")
        for n in range(PER_TABLE)
    )


def change_clients(times: int) -> None:
    """As an operator does, one after the other; each makes a version that keeps what both files said."""
    from django.db import transaction

    from clients.models import Client
    from gateway.attribution import attributed

    began, worked = time.perf_counter(), time.process_time()
    for n in range(times):
        client = Client.objects.get(tool_id=f"tool-{n % CLIENTS:04}")
        client.notes = f"changed for the {n}th time"
        with attributed("ada", ""), transaction.atomic():
            client.save()
    each = (time.perf_counter() - began) * 1000 / times, (time.process_time() - worked) * 1000 / times
    print(f"{times} clients saved, a version each: {each[0]:.0f} ms, CPU {each[1]:.0f} ms", flush=True)


def write_files(folder: Path) -> None:
    """Both files as exported, so that the page compares them with the database."""
    from gateway.configfile import FILES, export_file

    folder.mkdir(exist_ok=True)
    for name in FILES:
        export_file(name, folder)


def pages() -> list[str]:
    from django.contrib import admin

    from telemetry.figures import RANGES

    found = [f"/admin/?range={name}" for name in RANGES]
    for model in admin.site._registry:
        found.append(f"/admin/{model._meta.app_label}/{model._meta.model_name}/")
    record, sums = "/admin/telemetry/requestlog/", "/admin/telemetry/callrollup/"
    found += ["/admin/gateway/configversion/?p=2"]
    found += [f"{record}?{query}" for query in ("outcome=AUTH", "client=tool-0500", "request=request-77")]
    found += [f"{record}?{query}" for query in ("provider=provider-099", "client=nobody", "period=24h")]
    found += [f"{record}live/", f"{record}filters/"]
    return [*found, f"{sums}?sums=day-all", f"{sums}?sums=hour-client", f"{sums}?q=tool-0500"]


def measure(browser: Any, page: str) -> tuple[set[int], float, float]:
    """The numbers of queries that were seen, and the medians of the milliseconds, waited and computed."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    assert browser.get(page).status_code == 200, page
    counts: set[int] = set()
    times, busy = [], []
    for _ in range(5):
        began, worked = time.perf_counter(), time.process_time()
        with CaptureQueriesContext(connection) as captured:
            response = browser.get(page)
        times.append((time.perf_counter() - began) * 1000)
        busy.append((time.process_time() - worked) * 1000)
        assert response.status_code == 200, page
        counts.add(len(captured))
    return counts, statistics.median(times), statistics.median(busy)


def report(only: str) -> bool:
    from django.contrib.auth.models import User
    from django.test import Client as Browser

    browser = Browser(headers={"host": "localhost"})
    browser.force_login(User.objects.create_superuser("ada", "", "ada's password 1"))
    print(f"\n{'page':<62}{'queries':>8}{'ms':>8}{'CPU ms':>8}")
    well = True
    for page in (page for page in pages() if only in page):
        counts, ms, cpu = measure(browser, page)
        slow = ms > LIMIT_MS or len(counts) > 1
        well = well and not slow
        shown = "/".join(str(count) for count in sorted(counts))
        print(f"{page:<62}{shown:>8}{ms:>8.0f}{cpu:>8.0f}{'  <- not well' if slow else ''}", flush=True)
    return well


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--only", default="", help="pages whose address has this in it")
    options = parser.parse_args()
    rows = options.rows
    server = os.environ.get("DATABASE_URL") or os.environ.get("LLM_CALLER_TEST_DATABASE_URL", "")
    os.environ.pop("LLM_CALLER_TEST_DATABASE_URL", None)
    os.environ["DATABASE_URL"] = ""
    import environment  # noqa: F401 - secrets and a state folder of this run's own

    name = prepare(server)
    try:
        now = datetime.now(UTC)
        fill_record(rows, now)
        fill_configuration(now)
        write_files(Path(os.environ["LLM_CALLER_CONFIG_DIR"]))
        return 0 if report(options.only) else 1
    finally:
        drop(server, name)


def drop(server: str, name: str) -> None:
    from django.db import connection

    connection.close()
    shutil.rmtree(os.environ["LLM_CALLER_STATE_DIR"], ignore_errors=True)
    if name:
        import psycopg

        with psycopg.connect(server, autocommit=True) as connection_:
            connection_.execute(f'DROP DATABASE "{name}"')


if __name__ == "__main__":
    sys.exit(main())
