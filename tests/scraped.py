"""What a gateway's `/metrics` tells, and a second gateway beside the first."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from conftest import RunningGateway
from prometheus_client.parser import text_string_to_metric_families

Told = dict[tuple[str, ...], float]


def told_by(gateway: RunningGateway) -> Told:
    """`(name without llm_caller_, values of labels in the order of their names…) → value`, as Prometheus' own parser reads it."""
    response = gateway.get("/metrics")
    assert response.status_code == 200, response.text
    return {
        (sample.name.removeprefix("llm_caller_"), *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def wait_until(found: Callable[[], bool], seconds: float = 15) -> None:
    until = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.02)


@contextmanager
def second_process(first: RunningGateway, folder: Path) -> Iterator[RunningGateway]:
    """Another server on the same state folder, on a port of its own."""
    folder.mkdir()
    own = {"LLM_CALLER_PORT"}
    same = {name: value for name, value in first.env.items() if name.startswith("LLM_") and name not in own}
    with closing(RunningGateway(folder, same)) as second:
        second.env["DATABASE_URL"] = first.env["DATABASE_URL"]
        second.start()
        yield second
