"""The scripted provider does what its scripts' names say, or the tests that rely on it prove nothing."""

import time

import httpx
import pytest
from fake_provider import FakeProvider


def ask(fake: FakeProvider, model: str, *, stream: bool = False) -> httpx.Response:
    body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
    return httpx.post(f"{fake.url}/chat/completions", json=body, trust_env=False)


def test_it_echoes_counts_and_lists_models(fake: FakeProvider) -> None:
    assert ask(fake, "echo").json()["choices"][0]["message"]["content"] == "echo: hi"
    assert [hit.model for hit in fake.hits] == ["echo"]
    listed = httpx.get(f"{fake.url}/models", trust_env=False).json()
    assert [model["id"] for model in listed["data"]] == fake.models


@pytest.mark.parametrize(
    ("model", "statuses"),
    [
        ("status-418", [418, 418]),
        ("503-then-ok", [503, 200]),
        ("429-retry-after-7", [429]),
        ("redirect", [302]),
        ("html", [200]),
    ],
)
def test_statuses_are_as_named(fake: FakeProvider, model: str, statuses: list[int]) -> None:
    assert [ask(fake, model).status_code for _ in statuses] == statuses


def test_a_hint_is_sent_as_seconds_or_as_a_date(fake: FakeProvider) -> None:
    assert ask(fake, "429-retry-after-7").headers["retry-after"] == "7"
    assert ask(fake, "429-retry-after-date").headers["retry-after"].endswith("GMT")


def test_slow_is_slow_and_cut_is_cut(fake: FakeProvider) -> None:
    started = time.monotonic()
    ask(fake, "slow-200ms")
    assert time.monotonic() - started >= 0.2
    with pytest.raises(httpx.RemoteProtocolError):
        ask(fake, "cut-after-3")
    with pytest.raises(httpx.RemoteProtocolError):
        ask(fake, "cut-after-3", stream=True)


def test_a_stream_ends_with_usage_and_done(fake: FakeProvider) -> None:
    lines = [line for line in ask(fake, "echo", stream=True).text.split("\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert '"usage"' in lines[-2]
    assert '"usage"' not in ask(fake, "no-usage", stream=True).text


def test_a_script_of_ones_own_is_streamed_piece_by_piece(fake: FakeProvider) -> None:
    fake.scripts["mine"] = ["a", "\u2028", "c"]
    lines = ask(fake, "mine", stream=True).text.split("\n")
    assert [line for line in lines if '"content": "\u2028"' in line]


def test_a_client_that_leaves_is_noticed(fake: FakeProvider) -> None:
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{fake.url}/chat/completions",
            json={"model": "silent", "messages": [{"content": "x"}]},
            timeout=0.2,
            trust_env=False,
        )
    assert fake.wait_for(lambda: [model for model, _ in fake.cancelled] == ["silent"])
