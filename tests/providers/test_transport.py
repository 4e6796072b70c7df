"""The real engine against real sockets: each way a connection fails has its own reason."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from providers.egress import EgressPolicy, parse_networks
from providers.errors import DeadlineError, UpstreamError
from providers.transport import close, open_transport


@contextmanager
def listening(backlog: int = 1) -> Iterator[socket.socket]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(backlog)
        yield server


async def failure(url: str, egress: EgressPolicy | None = None) -> UpstreamError:
    transport = open_transport(egress or EgressPolicy())
    try:
        with pytest.raises(UpstreamError) as error:
            await transport.send(httpx.Request("GET", url), connect_ms=300, head_ms=500)
        return error.value
    finally:
        await transport.close()


async def test_refused_dns_tls_silence_and_nonsense_are_told_apart() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert (await failure(f"http://127.0.0.1:{port}/")).reason == "UPSTREAM_UNREACHABLE"
    assert (await failure("http://no-such-host.invalid/")).reason == "UPSTREAM_DNS_FAILURE"
    with listening() as server:
        silent = await failure(f"http://127.0.0.1:{server.getsockname()[1]}/")
        assert isinstance(silent, DeadlineError)
        assert silent.which == "firstEvent"
    assert (await against(b"HTTP/1.1 400 no TLS here\r\n\r\n", "https")).reason == "UPSTREAM_TLS_FAILURE"
    assert (await against(b"nonsense\r\n\r\n", "http")).reason == "UPSTREAM_BAD_RESPONSE"
    assert (await against(b"", "http")).reason == "UPSTREAM_DISCONNECTED"


async def against(said: bytes, scheme: str) -> UpstreamError:
    """What comes of a server that says this to anything and closes."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        return await failure(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}/")


class DeadNames:
    """A resolver whose server does not answer about names that begin with `dead`."""

    def __init__(self) -> None:
        self.over = threading.Event()

    def __call__(self, host: str, *args: Any, **options: Any) -> Any:
        if host.startswith("dead"):
            assert self.over.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return socket.getaddrinfo(host, *args, **options)


@pytest.fixture
def dead_names() -> Iterator[DeadNames]:
    names = DeadNames()
    yield names
    names.over.set()


async def test_the_connect_deadline_covers_the_name(dead_names: DeadNames) -> None:
    transport = open_transport(EgressPolicy(), look_up=dead_names)
    for _ in range(2):
        began = time.monotonic()
        with pytest.raises(DeadlineError) as error:
            await transport.send(httpx.Request("GET", "http://dead.invalid/"), connect_ms=200, head_ms=9000)
        assert error.value.which == "connect"
        assert time.monotonic() - began < 1
    await transport.close()


async def test_names_that_hang_hold_up_no_other(dead_names: DeadNames) -> None:
    transport = open_transport(EgressPolicy(), look_up=dead_names)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 x\r\nconnection: close\r\n\r\n")
        writer.close()

    async def ask(url: str) -> httpx.Response:
        return await transport.send(httpx.Request("GET", url), connect_ms=5000, head_ms=9000)

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        hanging = [asyncio.ensure_future(ask(f"http://dead{n}.invalid/")) for n in range(50)]
        await asyncio.sleep(0)
        async with asyncio.timeout(3):
            response = await ask(f"http://localhost:{server.sockets[0].getsockname()[1]}/")
        assert response.status_code == 204
        await close(response)
        dead_names.over.set()
        errors = await asyncio.gather(*hanging, return_exceptions=True)
        assert {getattr(error, "reason", None) for error in errors} == {"UPSTREAM_DNS_FAILURE"}
    await transport.close()


async def test_an_address_is_checked_where_it_is_dialled_whatever_its_name_was() -> None:
    def rebound(host: str, port: int, **options: Any) -> Any:
        return socket.getaddrinfo("169.254.169.254", port, **options)

    transport = open_transport(EgressPolicy(), look_up=rebound)
    with pytest.raises(UpstreamError, match="EGRESS_REFUSED"):
        await transport.send(httpx.Request("GET", "http://good.example/"), connect_ms=300, head_ms=500)
    await transport.close()


async def test_a_dialled_address_outside_the_policy_is_refused_before_a_connection() -> None:
    for url in (
        "http://169.254.169.254/",
        "http://[::ffff:169.254.169.254]/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://0.0.0.0/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://2852039166/",
    ):
        error = await failure(url)
        assert error.reason in ("EGRESS_REFUSED", "UPSTREAM_DNS_FAILURE", "BASE_URL_INVALID"), url
        assert error.classification == "CONFIG" or error.reason == "UPSTREAM_DNS_FAILURE", url


async def test_a_host_that_cannot_be_written_is_a_matter_of_configuration() -> None:
    for host in ("a..b", "a" * 70 + ".net", "x" * 300):
        error = await failure(f"http://{host}/v1")
        assert (error.classification, error.reason) in (
            ("CONFIG", "BASE_URL_INVALID"),
            ("TEMPORARY", "UPSTREAM_DNS_FAILURE"),
        ), host


@pytest.mark.parametrize(
    ("address", "permitted"),
    [
        ("8.8.8.8", True),
        ("2606:4700::1", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.0.1", False),
        ("100.64.0.1", False),
        ("fd00::1", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("2002:a9fe:a9fe::", False),
        ("fe80::1%eth0", False),
        ("100.100.100.200", False),
        ("168.63.129.16", False),
        ("0.0.0.0", False),
        ("::", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("ff02::1", False),
        ("not-an-address", False),
        ("", False),
    ],
)
def test_which_addresses_are_open(address: str, permitted: bool) -> None:
    assert EgressPolicy().permits(address) is permitted


def test_an_allowed_network_opens_itself_but_never_metadata() -> None:
    policy = EgressPolicy(parse_networks(["10.0.0.0/8", "169.254.0.0/16", "fd00::/8", "100.64.0.0/10"]))
    assert policy.permits("10.1.2.3")
    assert policy.permits("::ffff:10.1.2.3")
    assert policy.permits("fd00::1")
    assert not policy.permits("169.254.169.254")
    assert not policy.permits("169.254.0.1")
    assert not policy.permits("fd00:ec2::254")
    assert not policy.permits("100.100.100.200")
    assert not policy.permits("192.168.0.1")
