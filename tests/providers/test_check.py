"""A look at providers from the admin: over real sockets, with plain words for each way to fail."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Thread
from typing import Any

import pytest
from fake_provider import FakeProvider

from providers.check import Checked, address_warning, check
from providers.diagnosis import FAILED, REMEDIES
from providers.egress import EgressPolicy, parse_networks
from providers.types import Provider, Secret, Timeouts

OPEN = EgressPolicy()
LONG = Timeouts(connect_ms=60_000, first_event_ms=60_000, idle_ms=60_000, total_ms=60_000)
KEY = "sk-canary-c0ffee"


def provider(url: str, name: str = "p", **more: Any) -> Provider:
    facts = {
        "kind": "lmstudio",
        "default_model": "echo",
        "capabilities": frozenset({"chat"}),
        "timeouts": LONG,
    }
    return Provider(name=name, base_url=url, **(facts | {"api_key": Secret(KEY)} | more))


def look(url: str, **more: Any) -> Checked:
    (seen,) = check([provider(url, **more)], OPEN)
    return seen


@contextmanager
def saying(answer: bytes | None) -> Iterator[str]:
    """A server that says this to anything and closes; with None it is silent until the end."""

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            if answer is None:
                self.request.recv(1)
            else:
                self.request.sendall(answer)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_provider_that_is_well_is_told_with_its_latency_and_models(fake: FakeProvider) -> None:
    seen = look(fake.url, defaults={"embed": "not-there"})
    assert (seen.status, seen.models, seen.unlisted) == ("ok", ("echo", "embed-3"), ("not-there",))
    assert seen.sentences == ""
    assert seen.latency_ms is not None
    assert seen.latency_ms < 1000
    assert [hit.path for hit in fake.hits] == ["/v1/models"], "costs no tokens"


@pytest.mark.parametrize(
    ("status", "said", "advice"),
    [
        (401, "refused the credential (status 401)", "Replace the key"),
        (403, "refused the credential (status 403)", "Replace the key"),
        (404, "The provider answered (status 404)", "/v1"),
        (429, "limits the rate of requests (status 429)", "Wait"),
        (500, "The provider answered (status 500)", "log or status page"),
        (302, "The provider answered (status 302)", "final address"),
    ],
)
def test_each_status_is_told_in_plain_words(fake: FakeProvider, status: int, said: str, advice: str) -> None:
    fake.models_status = status
    seen = look(fake.url)
    assert seen.status == "degraded"
    assert said in seen.detail
    assert advice in seen.advice
    assert KEY not in repr(seen)
    assert len(fake.hits) == 1, "a look is not repeated"


def test_a_provider_without_models_is_degraded(fake: FakeProvider) -> None:
    fake.models = []
    assert look(fake.url).sentences == (
        "The provider lists no models. Load or download a model at the provider, then check again."
    )


def test_each_way_to_fail_before_an_answer_is_told_in_plain_words() -> None:
    assert "Start it" in look(f"http://127.0.0.1:{free_port()}/v1").advice
    assert "cannot be resolved" in look("http://no-such-host.invalid/v1").detail
    assert "not allowed" in look("http://192.168.1.1/v1").detail
    assert "not allowed" in look("http://169.254.169.254/v1").detail
    with saying(b"HTTP/1.1 400 no TLS here\r\n\r\n") as place:
        assert "TLS" in look(f"https://{place}/v1").detail
    with saying(b"") as place:
        assert "closed the connection" in look(f"http://{place}/v1").detail
    with saying(b"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n<html></html>") as place:
        seen = look(f"http://{place}/v1")
        assert "could not be read" in seen.detail
        assert "dialect" in seen.advice
    told = b'{"error":"Unexpected endpoint or method. (GET /models)"}'
    with saying(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(told), told)) as place:
        assert "end in /v1" in look(f"http://{place}").advice, "as LM Studio answers what it does not know"
    assert "not valid" in look("http://☃..example/v1").detail
    assert "Unknown kind" in look("http://127.0.0.1:1/v1", kind="no-such").detail


def test_a_missing_credential_is_told_before_anything_is_sent(fake: FakeProvider) -> None:
    seen = look(fake.url, api_key=None, credential_missing="the environment variable X is not set")
    assert seen.sentences.startswith("The environment variable X is not set. Set it")
    assert fake.hits == []


def test_silent_providers_cost_five_seconds_together(fake: FakeProvider) -> None:
    began = time.monotonic()
    with saying(None) as place:
        silent = [provider(f"http://{place}/v1", f"silent-{n}") for n in range(20)]
        seen = check([*silent, provider(fake.url, "well")], OPEN)
    took = time.monotonic() - began
    print(f"20 silent providers were told in {took:.1f} s")
    assert took < 7
    assert [one.status for one in seen] == ["failed"] * 20 + ["ok"]
    assert {one.detail for one in seen[:-1]} <= {FAILED["FIRST_EVENT_TIMEOUT"], FAILED["TOTAL_TIMEOUT"]}


def test_nothing_to_look_at_is_no_mistake() -> None:
    assert check([], OPEN) == []


def test_every_failure_has_words_and_something_to_do() -> None:
    assert FAILED.keys() <= REMEDIES.keys()


@pytest.mark.parametrize(
    ("url", "networks", "warning"),
    [
        ("http://localhost/v1", [], None),
        ("http://no-such-host.invalid/v1", [], "cannot be resolved"),
        (f"http://{'x' * 70}.example/v1", [], "cannot be resolved"),
        ("http://192.168.7.7/v1", [], "not allowed"),
        ("http://192.168.7.7/v1", ["192.168.0.0/16"], None),
    ],
)
def test_what_a_host_name_stands_for_is_held_against_the_policy(
    url: str, networks: list[str], warning: str | None
) -> None:
    said = address_warning(url, EgressPolicy(parse_networks(networks)))
    assert said is None if warning is None else warning in (said or "")
