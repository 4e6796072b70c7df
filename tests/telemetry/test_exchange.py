"""Several processes, one answer: what they counted is added up, and nothing that was told is ever taken back."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from telemetry.exchange import ENDED, Ended, Exchange
from telemetry.families import CONFIG_VERSION, IN_FLIGHT, LAG, PROVIDER_UP, TOKENS
from telemetry.metrics import MAX_MODELS, Metrics, State, snapshot
from telemetry.prometheus import exposition


class Process(Exchange):
    """A process as the others see it: its file and its lock."""

    def __init__(self, folder: Path, name: str, calls: int = 0) -> None:
        super().__init__(folder)
        self._owner = f"{name:0>15}-1"
        self.metrics = Metrics()
        self.start()
        self.serve(calls)

    def serve(self, calls: int) -> None:
        for _ in range(calls):
            self.metrics.observe_call("chat", outcome="ok", duration_ms=20)
        self.publish(self.metrics.state())

    def total(self) -> int:
        """What it would tell of all, having published."""
        told = snapshot(self.merged(self.metrics.state()).total)["methods"]
        return told["chat"]["requests"]["total"] if told else 0

    close = Exchange.stop


def test_all_processes_tell_the_sum_of_all(tmp_path: Path) -> None:
    with closing(Process(tmp_path, "1", 3)) as ada, closing(Process(tmp_path, "2", 4)) as olga:
        assert (ada.total(), olga.total()) == (7, 7)
        assert len(ada.merged(ada.metrics.state()).live) == 2
        told = snapshot(ada.merged(ada.metrics.state()).total)["methods"]["chat"]["latencyMs"]
        assert told == {"average": 20, "samples": 7, "p50": 20, "p95": 20, "p99": 20}


def test_others_are_those_that_run(tmp_path: Path) -> None:
    with closing(Process(tmp_path, "1")) as ada:
        assert ada.others() == 0
        with closing(Process(tmp_path, "2")) as olga:
            assert (ada.others(), olga.others()) == (1, 1)
        assert ada.others() == 0, "its file is still there"


def test_what_a_dead_process_counted_counts_on(tmp_path: Path) -> None:
    with closing(Process(tmp_path, "1", 3)) as ada:
        Process(tmp_path, "2", 4).stop()
        assert ada.total() == 7
        assert len(ada.merged(ada.metrics.state()).live) == 1
        ada.bury()
        assert ada.total() == 7
        assert sorted(path.suffix for path in tmp_path.glob("*2-1*")) == []
        ada.serve(1)
        Process(tmp_path, "3", 10).stop()
        ada.bury()
        ada.bury()
        assert ada.total() == 18


class Late(Process):
    """One before whose lock another process comes to its own: its file is there, and locked only now."""

    other: Process

    @contextmanager
    def _alone(self, *, wait: bool) -> Iterator[bool]:
        if not wait:
            self.other.start()
        with super()._alone(wait=wait) as mine:
            yield mine


def test_who_was_about_to_lock_its_file_is_not_buried_alive(tmp_path: Path) -> None:
    with closing(Late(tmp_path, "1", 3)) as ada, closing(Process(tmp_path, "2", 4)) as olga:
        olga.stop()
        ada.other = olga
        ada.bury()
        assert (tmp_path / f"{olga._owner}.lock").exists()
        olga.serve(2)
        assert ada.total() == 9


class Asked(NamedTuple):
    provider: str
    model: str
    classification: str | None = None


def test_models_of_ever_new_processes_stay_within_the_cap_and_no_token_is_lost(tmp_path: Path) -> None:
    with closing(Process(tmp_path, "1")) as ada:
        for n in range(3):
            other = Process(tmp_path, f"{n + 2}")
            for m in range(MAX_MODELS - 10):
                asked = [Asked("a", f"model-{n}-{m}")]
                other.metrics.observe_call("chat", outcome="ok", duration_ms=1, attempts=asked, tokens=(1, 2))
            other.serve(0)
            other.stop()
            ada.bury()
        tokens = ada.merged(ada.metrics.state()).total.counters[TOKENS.name]
    assert len({model for _, model, _ in tokens}) == MAX_MODELS + 1
    assert sum(n for (_, _, direction), n in tokens.items() if direction == "input") == 3 * (MAX_MODELS - 10)
    assert sum(n for (_, _, direction), n in tokens.items() if direction == "output") == 6 * (MAX_MODELS - 10)


def test_what_a_killed_process_had_half_written_goes_with_it(tmp_path: Path) -> None:
    with closing(Process(tmp_path, "1", 3)) as ada:
        dead = Process(tmp_path, "2", 4)
        (tmp_path / f".{dead._owner}.state.1").write_bytes(b"half")
        dead.stop()
        ada.bury()
        assert not list(tmp_path.glob("*2-1*"))
        assert not list(tmp_path.glob(".*2-1*"))
        assert ada.total() == 7


@pytest.mark.parametrize("kept", ["state", "lock", "both"])
def test_a_process_killed_while_it_buries_another_counts_nothing_twice(tmp_path: Path, kept: str) -> None:
    with closing(Process(tmp_path, "1", 3)) as ada:
        Process(tmp_path, "2", 4).stop()
        left = {path: path.read_bytes() for path in tmp_path.glob("*2-1.*")}
        ada.bury()
        for path, data in left.items():
            if kept in (path.suffix[1:], "both"):
                path.write_bytes(data)
        assert ada.total() == 7
        ada.bury()
        assert ada.total() == 7
        assert list(tmp_path.glob("*2-1.*")) == []


def test_the_first_process_where_none_runs_begins_anew(tmp_path: Path) -> None:
    Process(tmp_path, "1", 3).stop()
    with closing(Process(tmp_path, "2", 4)) as olga:
        assert olga.total() == 4
        with closing(Process(tmp_path, "3")) as ada:
            assert ada.total() == 4


def test_a_file_that_is_broken_or_of_another_version_is_passed_over(tmp_path: Path) -> None:
    with closing(Process(tmp_path, "1", 3)) as ada:
        (tmp_path / "2-2.state").write_bytes(b"\xc1 broken")
        (tmp_path / "3-3.state").write_bytes(msgspec.msgpack.encode(State(bounds=(1, 2))))
        (tmp_path / ENDED).write_bytes(msgspec.msgpack.encode(Ended(total=State(bounds=(1, 2)))))
        assert ada.total() == 3
        ada.bury()
        assert ada.total() == 3
        assert not list(tmp_path.glob("[23]-*"))


def test_every_file_is_the_operator_s_alone(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    with closing(Process(folder, "1", 3)) as ada:
        Process(folder, "2", 3).stop()
        ada.bury()
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "metrics"
    with closing(Process(folder, "1", 3)) as ada:
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        ada.serve(2)
        with closing(Process(folder, "2")) as olga:
            assert olga.total() == 5


def test_gauges_are_joined_as_fits_and_the_dead_have_none(tmp_path: Path) -> None:
    def gauges(in_flight: int, version: int, **up: float) -> Any:
        seen = {(name,): value for name, value in up.items()}
        return {IN_FLIGHT: {(): in_flight}, CONFIG_VERSION: {(): version}, PROVIDER_UP: seen}

    with closing(Process(tmp_path, "1")) as ada, closing(Process(tmp_path, "2")) as olga:
        dead = Process(tmp_path, "3")
        dead.publish(Metrics().state(gauges(100, 1, a=0)))
        dead.stop()
        olga.publish(Metrics().state(gauges(2, 8, a=0.5, b=1)))
        total, live = ada.merged(Metrics().state(gauges(3, 7, a=1)))
        text = exposition(total, live, {LAG: {(): 1.5}})[0].decode()
    told = {
        (s.name, *s.labels.values()): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    assert told["llm_caller_calls_in_flight",] == 5
    assert told["llm_caller_config_version",] == 7
    assert (told["llm_caller_provider_up", "a"], told["llm_caller_provider_up", "b"]) == (0.5, 1)
    assert told["llm_caller_writer_lag_seconds",] == 1.5
    assert told["llm_caller_processes",] == 2


COUNT_ON = """
import sys
from pathlib import Path
from telemetry.exchange import Exchange
from telemetry.metrics import Metrics
exchange, metrics = Exchange(Path(sys.argv[1])), Metrics()
while True:
    metrics.observe_call("chat", outcome="ok", duration_ms=20)
    exchange.publish(metrics.state())
    exchange.bury()
    print(metrics.snapshot()["methods"]["chat"]["requests"]["total"], flush=True)
"""


@pytest.mark.chaos
def test_the_total_never_goes_back_while_processes_are_killed(tmp_path: Path) -> None:
    """Each counts, publishes and buries the others; each is killed at some moment of that."""
    rounds = int(os.environ.get("CHAOS_ROUNDS", "20"))
    before, promised = 0, 0
    with closing(Process(tmp_path, "1")) as ada:
        for n in range(rounds):
            lines = 5 + n * 7 % 40
            command = [sys.executable, "-c", COUNT_ON, str(tmp_path)]
            env = os.environ | {"PYTHONPATH": os.getcwd()}
            with subprocess.Popen(command, stdout=subprocess.PIPE, env=env) as process:
                assert process.stdout is not None
                for _ in range(lines):
                    process.stdout.readline()
                    now = ada.total()
                    assert now >= before
                    before = now
                process.send_signal(signal.SIGKILL)
                told = process.stdout.read().split()
            promised += int(told[-1]) if told else lines
            if n % 2:
                ada.bury()
            now = ada.total()
            assert now >= before
            before = now
            assert promised <= before <= promised + n + 1, (
                "all that was told; at most one more of each process"
            )
    print(f"{rounds} processes killed: {before} calls counted, {promised} told, never fewer than before")
