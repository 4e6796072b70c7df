"""Every setting of the product, once: name, default, how it is read, and what it is for.

The process environment wins over the file (`LLM_CALLER_ENV_FILE`, default `.env`); django-environ reads
both, and `NAME_FILE` in place of any secret. `.env.example` and `docs/settings.md` are generated from here.
"""

import io
import json
import os
import re
import secrets
from collections.abc import Iterable
from ipaddress import ip_network
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import environ

from gateway import envlines

BASE_DIR = Path(__file__).resolve().parent.parent
_IN_CHECKOUT = (BASE_DIR / "pyproject.toml").exists()
SHIPPED = BASE_DIR if _IN_CHECKOUT else BASE_DIR / "gateway" / "shipped"
"""Where `templates`, `docs` and `config` lie that came with the product."""
HOME = BASE_DIR if _IN_CHECKOUT else Path.cwd()
"""What relative folders and the environment file are below: the checkout, or else the working directory."""
LOOPBACK_NETWORKS = "127.0.0.0/8,::1/128"
MIN_SECRET_LENGTH = 32
LISTS = ("hosts", "networks")
_MOST_MS, _MOST_S, _MOST_HOURS, _MOST_DAYS = 86_400_000, 86_400, 8_760, 36_500
"""A day, a day, a year and a hundred years: beyond, clocks and dates overflow where nobody looks."""
_MOST_BYTES = 1 << 40
_BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_.])?|\[[0-9A-Fa-f:.]+\]")
"""As a request names one; anything else would match none."""
_PLACEHOLDER = re.compile(
    r"change[-_ ]?me|insecure|example|default|secret[-_]?key|placeholder|^(.)\1*$", re.IGNORECASE
)


class SettingsError(Exception):
    """A setting is missing, unreadable or unsafe. The message names it and never shows its value."""


class Setting(NamedTuple):
    """`kind`: str, url, int, bool, hosts, networks, choice or secret. `example`: what `.env.example` sets, when not the default."""

    name: str
    kind: str
    default: Any
    help: str
    section: str
    choices: tuple[str, ...] = ()
    minimum: int = 0
    maximum: int | None = None
    example: str | None = None


def _in(section: str, *rows: tuple[Any, ...]) -> list[Setting]:
    return [
        Setting(row[0], row[1], row[2], row[3], section, **(row[4] if len(row) > 4 else {})) for row in rows
    ]


SETTINGS: tuple[Setting, ...] = (
    *_in(
        "Where it listens and who may reach it",
        ("LLM_CALLER_HOST", "str", "127.0.0.1", "Address to bind. Anything but loopback opens the service to a network."),
        ("LLM_CALLER_PORT", "int", 4037, "Port to bind.", {"minimum": 1, "maximum": 65_535}),
        ("LLM_CALLER_PUBLIC_URL", "url", "", "Where people reach it through a TLS proxy. `https://…` turns on secure cookies, HSTS and redirects; unset means plain HTTP on loopback."),
        ("LLM_CALLER_ALLOWED_HOSTS", "hosts", "", "Host names that requests may name, comma-separated. Unset: localhost names, the bind address and the host of the public URL."),
        ("LLM_CALLER_ALLOWED_NETWORKS", "networks", LOOPBACK_NETWORKS, "Networks (CIDR) that may call at all; every route but /livez and /readyz."),
        ("LLM_CALLER_TRUSTED_PROXIES", "networks", "", "Networks (CIDR) of reverse proxies whose X-Forwarded-For and X-Forwarded-Proto are believed."),
        ("LLM_CALLER_MAX_BODY_BYTES", "int", 8_388_608, "Largest request body in bytes; more is answered 413 while it is still being read.", {"minimum": 1024, "maximum": 1 << 30}),
        ("LLM_CALLER_DRAIN_S", "int", 30, "Seconds that calls in flight may go on after SIGTERM or Ctrl+C.", {"maximum": _MOST_S}),
    ),
    *_in(
        "People who log in",
        ("LLM_CALLER_STAFF_TOTP", "choice", "optional", "Second factor of staff: a code from an app after the password. `optional`: who has set one up is asked for it; `required`: everybody sets one up before anything else; `off`: nobody is asked.", {"choices": ("off", "optional", "required")}),
        ("LLM_CALLER_SESSION_UNTIL_CLOSE", "bool", False, "Logs people out when the browser closes. In any case a session ends 8 hours after its last request."),
    ),
    *_in(
        "Calling providers",
        ("LLM_CALLER_RETRY_ATTEMPTS", "int", 2, "Attempts per provider on temporary errors and provider rate limits, the first included.", {"minimum": 1}),
        ("LLM_CALLER_CONNECT_TIMEOUT_MS", "int", 5_000, "Longest wait for a connection to a provider.", {"minimum": 1, "maximum": _MOST_MS}),
        ("LLM_CALLER_FIRST_EVENT_TIMEOUT_MS", "int", 120_000, "Longest wait for an answer's head, or a stream's first event. Local models are slow.", {"minimum": 1, "maximum": _MOST_MS}),
        ("LLM_CALLER_IDLE_TIMEOUT_MS", "int", 60_000, "Longest silence between two events of a stream.", {"minimum": 1, "maximum": _MOST_MS}),
        ("LLM_CALLER_TOTAL_TIMEOUT_MS", "int", 600_000, "Longest time for a call over all attempts.", {"minimum": 1, "maximum": _MOST_MS}),
        ("LLM_CALLER_STREAM_COMMIT_MS", "int", 10_000, "A stream without a first event by then is answered 200 and kept alive with comments.", {"minimum": 1, "maximum": _MOST_MS}),
        ("LLM_CALLER_STREAM_CHUNK_CHARS", "int", 4_000, "Longest content of one streamed delta in characters; longer ones are split.", {"minimum": 1}),
        ("LLM_CALLER_EGRESS_ALLOW", "networks", "", "Networks (CIDR) where providers may be reached beside public addresses and loopback, for example 192.168.0.0/16."),
        ("LLM_CALLER_HEALTH_INTERVAL_S", "int", 15, "Seconds between two rounds of provider probes.", {"minimum": 1, "maximum": _MOST_S}),
    ),
    *_in(
        "Limits",
        ("LLM_CALLER_RATE_LIMIT_MAX", "int", 0, "Calls that a client may make per interval; 0 is off. A client's own limit replaces it.", {"example": "5", "maximum": 2_147_483_647}),
        ("LLM_CALLER_RATE_LIMIT_INTERVAL_MS", "int", 1_000, "The interval of that limit.", {"minimum": 1, "maximum": 2_147_483_647}),
    ),
    *_in(
        "Logs",
        ("LLM_CALLER_LOG_LEVEL", "choice", "info", "Least important level that is written.", {"choices": ("error", "warn", "info", "debug")}),
        ("LLM_CALLER_LOG_FILE", "str", "", "Also write the JSON lines to this file."),
        ("LLM_CALLER_LOG_MAX_BYTES", "int", 5_242_880, "Rotate the file before it grows past this.", {"minimum": 1024, "maximum": _MOST_BYTES}),
        ("LLM_CALLER_LOG_MAX_FILES", "int", 100, "Rotated files to keep, FILE.1 being the newest.", {"example": "5", "maximum": 10_000}),
        ("LLM_CALLER_LOG_DEBUG_PAYLOADS", "bool", False, "Lifts the redaction of prompts and answers in logs (never of credentials). Only for short, local debugging."),
    ),
    *_in(
        "The record of calls",
        ("LLM_CALLER_AUDIT_SYNC", "choice", "interval", "When the journal reaches the disk, so that it survives a power cut: `always` before a call goes on, `interval` every 20 ms, `off` when the system likes. The death of the process loses nothing in any of them.", {"choices": ("always", "interval", "off")}),
        ("LLM_CALLER_AUDIT_KEY_PATH", "str", "", "File of the key that signs the record; made at first start. Unset: `audit/signing.key` in the state folder."),
        ("LLM_CALLER_AUDIT_CHECKPOINTS_PATH", "str", "", "File to which every checkpoint is appended, best on another disk or an append-only mount. Unset: `audit/checkpoints.jsonl` in the state folder."),
        ("LLM_CALLER_AUDIT_VERIFY_HOURS", "int", 24, "Hours between two verifications of the whole record, which the server begins by itself; 0 is off.", {"minimum": 0, "maximum": _MOST_HOURS}),
        ("LLM_CALLER_CAPTURE_MAX_BYTES", "int", 262_144, "Most of a call's content that is kept of clients whose setting says so, request and answer together, up to 524288; the rest is cut, and told to be.", {"minimum": 1024, "maximum": 524_288}),
        ("LLM_CALLER_FAILED_AUTH_DAYS", "int", 90, "Days that failed authentication is kept: the counts by address, minute and kind.", {"minimum": 1, "maximum": _MOST_DAYS}),
    ),
    *_in(
        "Traces",
        ("LLM_CALLER_OTEL_ENDPOINT", "str", "", "Base URL of an OpenTelemetry collector that takes OTLP over HTTP, for example http://127.0.0.1:4318: spans and metrics of calls are sent there. Needs the extra `otel`. Unset: nothing is."),
    ),
    *_in(
        "Where things are kept",
        ("LLM_CALLER_STATE_DIR", "str", "var", "Folder for database, journal, snapshots and generated passwords."),
        ("LLM_CALLER_CONFIG_DIR", "str", "config", "Folder of providers.json and client-registry.json."),
        ("LLM_CALLER_ENV_FILE", "str", ".env", "The file these settings are read from; only the process environment can name it."),
        ("DATABASE_URL", "str", "", "Database, for example postgres://user:password@host/name. Unset: SQLite in the state folder."),
        ("REDIS_URL", "str", "", "Reserved for state shared by several hosts; not needed by one."),
    ),
    *_in(
        "Secrets (made at first start when missing; each can be given as NAME_FILE instead)",
        ("DJANGO_SECRET_KEY", "secret", "", "Signs sessions and forms of the admin."),
        ("LLM_CALLER_TOKEN_PEPPERS", "secret", "", "Keys for the digests of client tokens, comma-separated, newest first. Tokens stored under a key that is gone stop working."),
        ("LLM_CALLER_ENCRYPTION_KEYS", "secret", "", "Keys for provider credentials, second factors and the content of calls kept in the database, and for the digests of requests and answers in the record, comma-separated, newest first."),
    ),
    *_in(
        "Provider credentials (read by the providers that name them)",
        ("OPENAI_API_KEY", "secret", "", "Default credential of providers of kind openai."),
        ("ANTHROPIC_API_KEY", "secret", "", "Default credential of providers of kind anthropic."),
    ),
)  # fmt: skip
BY_NAME = {setting.name: setting for setting in SETTINGS}
GENERATED = ("DJANGO_SECRET_KEY", "LLM_CALLER_TOKEN_PEPPERS", "LLM_CALLER_ENCRYPTION_KEYS")


class Environment:
    """Typed access by name. Raises `SettingsError` for what cannot be read."""

    def __init__(self) -> None:
        self._env = environ.FileAwareEnv()
        environ.Env.read_env(io.StringIO(envlines.readable(env_text(env_file()))), overwrite=False)

    def require_readable(self) -> None:
        """Raises one `SettingsError` that names every setting which cannot be read or is unsafe."""
        found = ["DEBUG must not be on"] if _BOOLEANS.get(os.environ.get("DEBUG", "").lower()) else []
        for setting in SETTINGS:
            try:
                if setting.name in GENERATED:
                    self.secret_list(setting.name)
                else:  # a provider's key that is missing is that provider's affair
                    self[setting.name]
            except SettingsError as error:
                found.append(str(error))
        if found:
            raise SettingsError("\n".join(found))

    def __getitem__(self, name: str) -> Any:
        setting = BY_NAME[name]
        try:
            return self._read(setting)
        except OSError:
            raise SettingsError(f"{name}_FILE names a file that cannot be read") from None
        except (ValueError, environ.ImproperlyConfigured):
            raise SettingsError(f"{name} is not {_expected(setting)}") from None

    def _read(self, setting: Setting) -> Any:
        text = self._env.str(setting.name, default="").strip()
        if text == "":
            return [] if setting.kind in LISTS and not setting.default else _convert(setting, setting.default)
        return _convert(setting, text)

    def secret_list(self, name: str) -> list[str]:
        """The keys of a secret that is a list. Raises `SettingsError` when one is missing or unsafe."""
        keys = _parts(str(self[name]))
        if not keys:
            raise SettingsError(
                f"{name} is not set; ./uat/start_server.sh or `python -m gateway.envfile` makes one"
            )
        for key in keys:
            if len(key) < MIN_SECRET_LENGTH or _PLACEHOLDER.search(key):
                raise SettingsError(f"{name} is a placeholder or shorter than {MIN_SECRET_LENGTH} characters")
        return keys

    def file(self, name: str) -> Path | None:
        """Relative paths are below `HOME`; None when unset."""
        text = str(self[name])
        return HOME / text if text else None

    def folder(self, name: str) -> Path:
        """Relative folders are below `HOME`."""
        return HOME / str(self[name])


def _convert(setting: Setting, value: Any) -> Any:
    if setting.kind == "int":
        number = int(value)
        if number < setting.minimum or (setting.maximum is not None and number > setting.maximum):
            raise ValueError
        return number
    if setting.kind == "bool":
        if isinstance(value, bool):
            return value
        if value.lower() not in _BOOLEANS:
            raise ValueError
        return _BOOLEANS[value.lower()]
    if setting.kind == "url" and value and not _is_origin(value):
        raise ValueError
    if setting.kind == "networks":
        return [str(ip_network(part, strict=False)) and part for part in _parts(value)]
    if setting.kind == "hosts":
        return _hosts(value)
    if setting.kind == "choice" and value not in setting.choices:
        raise ValueError
    return value


def _hosts(text: str) -> list[str]:
    if not all(part == "*" or _HOST.fullmatch(part.removeprefix(".")) for part in _parts(text)):
        raise ValueError
    return _parts(text)


def _is_origin(text: str) -> bool:
    """Raises `ValueError` for what is no URL, or has no number for a port."""
    parts = urlsplit(text)
    beyond = parts.path.removeprefix("/") or parts.query or parts.fragment or parts.username is not None
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname and _HOST.fullmatch(parts.netloc.removesuffix(f":{parts.port}")))
        and parts.port != 0
        and not beyond
    )


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _expected(setting: Setting) -> str:
    if setting.kind == "int":
        if setting.maximum is not None:
            return f"a whole number from {setting.minimum} to {setting.maximum}"
        return f"a whole number of at least {setting.minimum}"
    if setting.kind == "choice":
        return "one of " + ", ".join(setting.choices)
    words = {
        "bool": "true or false",
        "networks": "a list of networks such as 10.1.0.0/16",
        "hosts": "a list of host names such as llm.example.org, without scheme, port or blanks",
        "url": "an http:// or https:// URL of a host, with nothing after it but a port",
    }
    return words.get(setting.kind, "readable")


def env_file() -> Path:
    return HOME / (os.environ.get("LLM_CALLER_ENV_FILE") or ".env")


def env_text(path: Path) -> str:
    """What the file says, "" where there is none. Raises `SettingsError` for lines that nobody would read."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise SettingsError(f"{path} cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is not UTF-8") from None
    if problems := envlines.problems_of(text):
        raise SettingsError("\n".join(f"{path}, {said}" for said in problems))
    return text


def own_places() -> list[str]:
    """Where the product's own secrets lie: the environment file, the state folder, the files of `NAME_FILE`."""
    files = [os.environ.get(f"{name}_FILE", "") for name in (*GENERATED, "DATABASE_URL")]
    return [str(env_file()), str(Environment().folder("LLM_CALLER_STATE_DIR")), *filter(None, files)]


def new_secret() -> str:
    return secrets.token_urlsafe(48)


def missing_secrets(present: Iterable[str]) -> list[str]:
    """The generated secrets that neither `present` nor the process environment has."""
    have = set(present)
    have |= {name for name, value in os.environ.items() if value}
    return [name for name in GENERATED if name not in have and f"{name}_FILE" not in have]


def render_example() -> str:
    """The text of `.env.example`: every setting with its help, commented out unless the example sets it."""
    lines = [
        "# LLM Caller's settings. Copied to .env at first start; the process environment wins over the file."
    ]
    section = ""
    for setting in SETTINGS:
        if setting.section != section:
            section = setting.section
            lines += ["", f"## {section}", ""]
        lines.append(f"# {setting.help}")
        if setting.example is not None:
            lines.append(f"{setting.name}={setting.example}")
        else:
            lines.append(f"# {setting.name}={_shown(setting.default)}")
    return "\n".join(lines) + "\n"


def render_docs() -> str:
    """The text of `docs/settings.md`."""
    lines = [
        "# Settings",
        "",
        "Generated from `gateway/environment.py` by `manage.py write_docs`; do not edit.",
        "",
    ]
    lines += [
        "The process environment wins over the file `.env` (`LLM_CALLER_ENV_FILE`). Every secret can be given as",
        "`NAME_FILE`, the path of a file that holds it. A setting that cannot be read, or is unsafe, stops the start",
        "with exit code 2 and a message that names it.",
    ]
    section = ""
    for setting in SETTINGS:
        if setting.section != section:
            section = setting.section
            lines += ["", f"## {section}", "", "| name | default | meaning |", "|---|---|---|"]
        default = f"`{_shown(setting.default)}`" if _shown(setting.default) else "unset"
        extra = f" One of {', '.join(setting.choices)}." if setting.choices else ""
        example = f" The example sets {setting.example}." if setting.example is not None else ""
        lines.append(f"| `{setting.name}` | {default} | {setting.help}{extra}{example} |")
    return "\n".join(lines) + "\n"


def _shown(default: Any) -> str:
    return json.dumps(default) if isinstance(default, bool) else str(default)
