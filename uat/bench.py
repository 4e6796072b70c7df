"""How fast the gateway is, beside a bare relay measured in the same run.

    .venv/bin/python uat/bench.py [--seconds 5] [--rounds 3] [--memory-calls 50000]

Both run under the same server and call through the same transport; the relay does nothing else. A stub
answers at once. Read the ratios: absolute figures are those of the machine and of what else it does.
"""

import argparse
import asyncio
import json
import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import bench_load as load

ROOT = Path(__file__).resolve().parent.parent
START_S = 120
CONNECTIONS = 32
STREAMS, EVENTS, GAP_MS = 50, 40, 20
TOKEN = "bench-token"
SERVE = [sys.executable, "manage.py", "serve"]
TICKS = os.sysconf("SC_CLK_TCK")


class Served(NamedTuple):
    """A process under measurement and what is sent to it."""

    process: subprocess.Popen[bytes]
    port: int
    call: bytes
    stream: bytes


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def spawn(command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)


def start(command: list[str], env: dict[str, str] | None = None, port: int = 0) -> subprocess.Popen[bytes]:
    process = spawn(command, env)
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return process
        except OSError:
            time.sleep(0.05)
    raise SystemExit(f"{command} did not start")


def start_stub(port: int) -> subprocess.Popen[bytes]:
    return start([sys.executable, "uat/bench_stub.py", str(port), str(EVENTS), str(GAP_MS)], port=port)


def messages() -> list[dict[str, str]]:
    text = "Say hello and explain in one sentence what a gateway is. " + "Context: the quick brown fox. " * 10
    return [{"role": "system", "content": "You answer briefly."}, {"role": "user", "content": text}]


def start_relay(stub_port: int) -> Served:
    port = free_port()
    process = start(
        [sys.executable, "uat/bench_relay.py", str(port), f"http://127.0.0.1:{stub_port}"], port=port
    )
    body: dict[str, Any] = {"model": "bench", "messages": messages(), "max_tokens": 64}
    path = "/v1/chat/completions"
    return Served(
        process, port, load.request(port, path, body), load.request(port, path, body | {"stream": True})
    )


def prepare_gateway(stub_port: int, folder: Path, port: int) -> dict[str, str]:
    """A new installation in `folder` with one provider and one client; the environment that serves it."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("LLM_CALLER_")} | {
        "LLM_CALLER_ENV_FILE": str(folder / "none.env"),
        "LLM_CALLER_STATE_DIR": str(folder / "var"),
        "LLM_CALLER_CONFIG_DIR": str(folder),
        "LLM_CALLER_PORT": str(port),
        "LLM_CALLER_RATE_LIMIT_MAX": "1000000",
        "LLM_CALLER_LOG_FILE": str(folder / "gateway.log"),
        **{name: secrets.token_urlsafe(48) for name in SECRETS},
    }
    provider = {"baseUrl": f"http://127.0.0.1:{stub_port}/v1", "defaultModel": "bench"}
    provider |= {"capabilities": ["chat", "chatStream"], "defaults": {"chat": "bench", "chatStream": "bench"}}
    client = {"toolId": "bench", "token": TOKEN, "allowedMethods": ["chat", "chatStream", "getHealth"]}
    (folder / "providers.json").write_text(json.dumps({"providers": {"stub": provider}}))
    (folder / "client-registry.json").write_text(json.dumps({"clients": [client]}))
    subprocess.run([sys.executable, "manage.py", "prepare", "--no-uat-token"], cwd=ROOT, env=env, check=True)
    return env


def start_gateway(stub_port: int, folder: Path) -> Served:
    port = free_port()
    process = start(SERVE, prepare_gateway(stub_port, folder, port), port)
    body = {"requestId": "bench", "callerTool": "bench", "messages": messages(), "maxTokens": 64}
    header = f"X-LLM-Caller-Token: {TOKEN}"
    call = load.request(port, "/mcp/chat", body, header)
    return Served(process, port, call, load.request(port, "/mcp/chatStream", body, header))


SECRETS = ("DJANGO_SECRET_KEY", "LLM_CALLER_TOKEN_PEPPERS", "LLM_CALLER_ENCRYPTION_KEYS")


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def measure_calls(served: Served, seconds: float) -> load.Calls:
    return asyncio.run(load.closed_loop(served.port, served.call, CONNECTIONS, seconds))


def measure_streams(served: Served) -> tuple[load.Streams, float]:
    """And the CPU milliseconds of the server per 1,000 events."""
    before = cpu_seconds(served.process.pid)
    result = asyncio.run(load.streams(served.port, served.stream, STREAMS, STREAMS * 3))
    return result, (cpu_seconds(served.process.pid) - before) * 1000 / (STREAMS * 3 * EVENTS) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the gateway beside a bare relay.")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory-calls", type=int, default=50_000)
    options = parser.parse_args()
    stub_port = free_port()
    with tempfile.TemporaryDirectory(prefix="llm-caller-bench-") as folder:
        stub = start_stub(stub_port)
        relay, gateway = start_relay(stub_port), start_gateway(stub_port, Path(folder))
        try:
            report(relay, gateway, options)
        finally:
            for process in (gateway.process, relay.process, stub):
                process.send_signal(signal.SIGTERM)
                process.wait(30)


def report(relay: Served, gateway: Served, options: argparse.Namespace) -> None:
    time.sleep(2)
    idle = resident_mb(gateway.process.pid)
    for served in (relay, gateway):
        measure_calls(served, 1)
    calls: dict[str, list[load.Calls]] = {"relay": [], "gateway": []}
    for _ in range(options.rounds):
        calls["relay"].append(measure_calls(relay, options.seconds))
        calls["gateway"].append(measure_calls(gateway, options.seconds))
    relay_rate = statistics.median(one.per_second for one in calls["relay"])
    gateway_rate = statistics.median(one.per_second for one in calls["gateway"])
    relay_p50 = statistics.median(one.p50_ms for one in calls["relay"])
    gateway_p50 = statistics.median(one.p50_ms for one in calls["gateway"])
    errors = sum(one.errors for one in calls["relay"] + calls["gateway"])
    relay_streams, relay_cpu = measure_streams(relay)
    gateway_streams, gateway_cpu = measure_streams(gateway)
    early = resident_mb(gateway.process.pid)
    done = 0
    while done < options.memory_calls:
        done += measure_calls(gateway, options.seconds).count
    late = resident_mb(gateway.process.pid)
    print_table(
        [
            ("calls/s, 32 connections", relay_rate, gateway_rate, gateway_rate / relay_rate, ">= 0.55"),
            ("p50 latency, ms", relay_p50, gateway_p50, gateway_p50 / relay_p50, ""),
            ("errors", 0, errors, None, "0"),
            (
                "p99 time to first event, ms",
                relay_streams.p99_first_ms,
                gateway_streams.p99_first_ms,
                gateway_streams.p99_first_ms / relay_streams.p99_first_ms,
                "<= 3",
            ),
            ("CPU ms per 1,000 events", relay_cpu, gateway_cpu, gateway_cpu / relay_cpu, "<= 200 ms"),
            ("resident MB, idle", None, idle, None, "<= 150"),
            ("resident MB, warm", None, early, None, ""),
            (f"resident MB, {done:,} calls later", None, late, late / early, "0.95 to 1.05"),
        ]
    )


def print_table(rows: list[tuple[str, float | None, float, float | None, str]]) -> None:
    print(f"{'':34}{'relay':>10}{'gateway':>10}{'ratio':>8}   wanted")
    for name, relay, gateway, ratio, wanted in rows:
        left = "" if relay is None else f"{relay:.1f}"
        share = "" if ratio is None else f"{ratio:.2f}"
        print(f"{name:34}{left:>10}{gateway:>10.1f}{share:>8}   {wanted}")


if __name__ == "__main__":
    main()
