"""The gateways that pictures are taken of: one as after a first morning, and an empty one for the walk-through."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conftest import ALL_METHODS, RunningGateway, provider_entry, running_gateway
from fake_provider import FakeProvider

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "the operator's password 1"
MODELS = ["gemma-3-270m", "nomic-embed", "qwen-2.5-7b", "echo", "embed-3"]


class Stage:
    """`shown`: what stands on pages of this run → what stands there on most machines, so that pictures stay alike."""

    def __init__(self, gateway: RunningGateway, fake: FakeProvider) -> None:
        self.gateway, self.fake = gateway, fake
        self.shown = {
            f"127.0.0.1:{fake.port}": "localhost:1234",
            f"127.0.0.1:{gateway.port}": "127.0.0.1:4037",
            str(gateway.folder): "/srv/llm-caller",
        }


@contextmanager
def after_a_morning() -> Iterator[Stage]:
    """Four providers, three clients, calls of every kind."""
    env = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_PASSWORD": PASSWORD}
    with FakeProvider() as fake, tempfile.TemporaryDirectory() as folder:
        fake.models[:] = MODELS
        files = _providers(fake), {"clients": _clients()}
        with running_gateway(Path(folder), *files, env, start=False) as gateway:
            seed(gateway, "past_hour")
            seed(gateway, "colleague")
            gateway.start()
            _call(gateway)
            gateway.manage("issue_token", "dashboard", "--expires", "7d")
            seed(gateway, "protection")
            gateway.manage("audit_verify")
            yield Stage(gateway, fake)


@contextmanager
def empty() -> Iterator[Stage]:
    """Nothing but the user admin, whose password stands in a file."""
    with FakeProvider() as fake, tempfile.TemporaryDirectory() as folder:
        fake.models[:] = MODELS[:3]
        with running_gateway(Path(folder), {"providers": {}}, {"clients": []}) as gateway:
            yield Stage(gateway, fake)


def seed(gateway: RunningGateway, what: str) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'uat')!r}); import picture_seed; picture_seed.{what}()"
    )
    gateway.manage("shell", "-v", "0", "-c", code)


def _providers(fake: FakeProvider) -> dict[str, object]:
    scores = {"chat": 90, "chatStream": 90}
    gpu = provider_entry(fake.url, defaultModel="gemma-3-270m", models=MODELS[:3], scores=scores)
    gpu |= {"defaults": {"chat": "gemma-3-270m", "chatStream": "gemma-3-270m", "embed": "nomic-embed"}}
    chats = {"defaultModel": "gpt-5", "capabilities": ["chat", "chatStream"]}
    openai = chats | {"baseUrl": "https://api.openai.com/v1", "enabled": False, "notes": "Waits for a key."}
    providers = {
        "lmstudio_gpu": gpu,
        "lmstudio_cpu": gpu | {"scores": {"chat": 40}},
        "openai": openai,
    }
    aliases = {"fast": "lmstudio_gpu/gemma-3-270m", "thorough": "lmstudio_gpu/qwen-2.5-7b"}
    return {"providers": providers, "aliases": aliases}


def _clients() -> list[dict[str, object]]:
    return [
        {"toolId": "editor", "token": "editor-token", "allowedMethods": ALL_METHODS,
         "rateLimit": {"maxRequests": 500, "intervalMs": 60_000}, "maxConcurrency": 8},
        {"toolId": "nightly-summary", "token": "nightly-token", "allowedMethods": ["chat", "embed"],
         "allowedProviders": ["lmstudio_gpu"], "capture": "all"},
        {"toolId": "dashboard", "token": "dashboard-token", "allowedMethods": ["getHealth", "models"]},
    ]  # fmt: skip


def _call(gateway: RunningGateway) -> None:
    for n in range(25):
        gateway.chat(f"call {n}", token="editor-token", callerTool="editor")
        if n % 4 == 0:
            with gateway.stream(f"stream {n}", token="editor-token", callerTool="editor") as response:
                response.read()
    for model in ("status-503", "status-429", "slow-300ms", "slow-300ms"):
        gateway.chat(token="editor-token", callerTool="editor", provider="lmstudio_gpu", model=model)
    gateway.chat(token="nightly-token", callerTool="nightly-summary")
    gateway.chat(token="a-token-that-nobody-has", callerTool="editor")
    gateway.get("/mcp/models", token="dashboard-token")
    gateway.chat(token="dashboard-token", callerTool="dashboard")
    gateway.chat(token="editor-token", callerTool="editor", model="no-such-model")
    last = gateway.chat("the last", token="editor-token", callerTool="editor").headers["x-llm-caller-call-id"]
    assert gateway.wait_for_records(1, 20, call_id=last)
