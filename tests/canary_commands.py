"""Commands over secrets: those that prepare, those that fail, and what objects in memory print of themselves."""

import json
import secrets
import subprocess
import sys

from canary import SECRETS, TEXTS
from canary_pages import STORED
from conftest import ROOT, RunningGateway, provider_entry


def run(
    gateway: RunningGateway, *arguments: str, typed: str = "", env: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    env = gateway.env | (env or {})
    return subprocess.run(
        command, env=env, cwd=ROOT, input=typed, capture_output=True, text=True, check=False
    )


def prepare(gateway: RunningGateway) -> dict[str, str]:
    """Tokens from a file and issued, keys stored by the assistant, exports with backups. What was printed, but for
    the issued token, which stands by itself."""
    registry = str(gateway.folder / "own" / "registry.json")
    told = {"import": run(gateway, "import_config", "--clients", registry).stdout}
    issued = run(gateway, "issue_token", "carol", "--methods", "chat")
    told |= {"issue": issued.stderr, "issued": issued.stdout.strip()}
    key = SECRETS["the key typed in the assistant"]
    script = ["3", STORED, "key", "4", key, "", "13", "for the canary test", "1", "6", "12", "14"]
    done = run(gateway, "config", typed="\n".join([*script, ""]))
    assert done.returncode == 0, done.stdout
    told["assistant"] = done.stdout + done.stderr
    for _ in range(3):
        told["export"] = run(gateway, "export_config").stdout
    told["backups"] = run(gateway, "backups").stdout + run(gateway, "backups", "--prune").stdout
    return told


def failing_commands(gateway: RunningGateway) -> dict[str, str]:
    """What commands say that fail over something that holds a secret, with the traceback where they can show one."""
    own = gateway.folder / "own"
    token, key = SECRETS["a token in a file"], SECRETS["the key in a variable"]
    password = SECRETS["the database's password"]
    bad = {
        "clients.json": {
            "clients": [{"toolId": 5, "token": token}, {"toolId": "x", "token": [token]}, token]
        },
        "twice.json": {"clients": [{"toolId": n, "token": token, "allowedMethods": []} for n in "ab"]},
        "cut.json": f'{{"clients": [{{"token": "{token[:-3]}"',
        "providers.json": {
            "providers": {
                "a": provider_entry(f"http://ada:{key}@localhost/v1"),
                "b": provider_entry("http://localhost/v1", apiKey={"env": key}),
                "c": provider_entry("http://localhost/v1", apiKey={"stored": key}),
                "d": provider_entry("http://localhost/v1", apiKey=key),
            }
        },
    }
    for name, document in bad.items():
        (own / name).write_text(document if isinstance(document, str) else json.dumps(document))
    elsewhere = f"postgres://ada:{password}@127.0.0.1:9/none"
    attempts: dict[str, tuple[list[str], dict[str, str]]] = {
        "clients": (["import_config", "--clients", str(own / "clients.json")], {}),
        "twice": (["import_config", "--clients", str(own / "twice.json")], {}),
        "cut": (["import_config", "--clients", str(own / "cut.json")], {}),
        "providers": (["import_config", "--providers", str(own / "providers.json")], {}),
        "another encryption key": (["serve"], {"LLM_CALLER_ENCRYPTION_KEYS": "w" + secrets.token_hex(32)}),
        "the wrong pepper": (["serve"], {"LLM_CALLER_TOKEN_PEPPERS": "w" + secrets.token_hex(32)}),
        "a placeholder": (["check"], {"DJANGO_SECRET_KEY": f"change-me {SECRETS['the encryption key']}"}),
        "no database": (["migrate"], {"DATABASE_URL": elsewhere}),
        "no database, told by the assistant": (["config"], {"DATABASE_URL": elsewhere}),
        "not a database": (["check"], {"DATABASE_URL": f"nonsense://ada:{password}@x/y"}),
        "a slash in a password": (["check"], {"DATABASE_URL": f"postgres://ada:{password}/x@host/y"}),
        "no token of that id": (["revoke_token", "nobody"], {}),
    }
    told = {}
    for name, (arguments, env) in attempts.items():
        done = run(gateway, *arguments, "--traceback", env=env)
        assert done.returncode != 0, name
        told[f"failing command, {name}"] = done.stdout + done.stderr
    return told


SHOWING = """
import msgspec
from django.conf import settings
from gateway.edge.playground import Play
from gateway.assistant.saving import begin
from gateway.configfile import peppers
from gateway.reload import build_policy, load_runtime
from providers.secrets import KeyRing

def show(value):
    print(repr(value), str(value), f"{value}")
    if isinstance(value, msgspec.Struct):
        for field in value.__struct_fields__:
            show(getattr(value, field))
    elif isinstance(value, dict):
        for item in value.values():
            show(item)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            show(item)

runtime = load_runtime(build_policy()).runtime
show(runtime)
show(list(runtime.catalog.providers.values()))
show(vars(runtime.directory) if hasattr(runtime.directory, "__dict__") else runtime.directory)
show([peppers(), KeyRing(settings.ENCRYPTION_KEYS), settings.ENVIRONMENT, begin()])
print(repr(settings), repr(vars(settings)["_wrapped"]))
print(Play(ticket="t", tool_id="bob", method="chat", body=msgspec.Raw(PLAYED.encode())))
keys = [provider.api_key for provider in runtime.catalog.providers.values()]
assert all(keys), keys
print(keys)
"""


def runtime_shown(gateway: RunningGateway) -> str:
    code = SHOWING.replace("PLAYED", repr(json.dumps(TEXTS["played"])))
    return gateway.manage("shell", "-v", "0", "-c", code).stdout


PACKED = """
from django.contrib.sessions.models import Session
from gateway.models import ConfigVersion
from gateway.rendering import unpack
for version in ConfigVersion.objects.exclude(before=None):
    print(unpack(bytes(version.before)))
for session in Session.objects.all():
    print(session.get_decoded())
"""


def unpacked(gateway: RunningGateway) -> str:
    """What lies compressed in the database, where a search of its bytes finds nothing."""
    told = gateway.manage("shell", "-v", "0", "-c", PACKED).stdout
    assert "providers.json" in told
    assert "_auth_user_id" in told
    return told
