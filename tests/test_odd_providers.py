"""One provider that cannot be asked harms neither the others nor the rounds that look after them."""

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import RunningGateway, provider_entry, running_gateway
from fake_provider import FakeProvider


def until_health(gateway: RunningGateway, name: str, status: str, seconds: float = 10) -> dict[str, Any]:
    end = time.monotonic() + seconds
    while True:
        parts = {part["name"]: part for part in gateway.get("/health").json()["components"]}
        if parts.get(name, {}).get("status") == status or time.monotonic() > end:
            part: dict[str, Any] = parts[name]
            return part


@pytest.mark.parametrize("key", ["ключ", "line\nbreak"])
def test_a_key_that_no_header_can_carry_is_told_and_the_next_provider_answers(
    tmp_path: Path, fake: FakeProvider, key: str
) -> None:
    odd = provider_entry(fake.url, scores={"chat": 99}, apiKey={"env": "ODD_KEY"})
    providers = {"providers": {"odd": odd, "lmstudio_b": provider_entry(fake.url)}}
    with running_gateway(tmp_path, providers, env={"ODD_KEY": key}) as gateway:
        part = until_health(gateway, "provider:odd", "degraded")
        assert "holds characters that no key has" in part["details"]
        assert gateway.chat().json()["providerInfo"]["name"] == "lmstudio_b"
        named = gateway.chat(provider="odd")
        assert (named.status_code, named.json()["error"]) == (500, "CONFIG")


def test_a_host_that_cannot_be_looked_up_is_refused_at_import(tmp_path: Path, fake: FakeProvider) -> None:
    with running_gateway(tmp_path, {"providers": {"b": provider_entry(fake.url)}}, start=False) as gateway:
        for host in ("a..b", "xn--zz", "☃.net", "a" * 70 + ".net"):
            gateway.configure({"providers": {"odd": provider_entry(f"http://{host}/v1")}}, None)
            refused = gateway.manage("import_config", check=False)
            assert refused.returncode == 2
            assert "#/providers/odd/baseUrl: " in refused.stderr, refused.stderr


def test_a_model_that_was_discovered_stays_known_while_its_provider_is_unwell(
    tmp_path: Path, fake: FakeProvider
) -> None:
    fake.models.append("found-once")
    with running_gateway(tmp_path, {"providers": {"lmstudio_a": provider_entry(fake.url)}}) as gateway:
        until_health(gateway, "provider:lmstudio_a", "ok")
        assert gateway.chat(model="found-once").status_code == 200
        fake.models_status = 503
        assert until_health(gateway, "provider:lmstudio_a", "degraded")["status"] == "degraded"
        assert gateway.chat(model="found-once").status_code == 200
        listed = {model["id"]: model["ready"] for model in gateway.get("/mcp/models").json()["models"]}
        assert listed["found-once"] is False
