"""What is installed with `pip install .`: every package, and what travels inside them."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def test_every_package_of_the_checkout_is_installed() -> None:
    there = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for app in ("gateway", "providers", "clients", "telemetry")
        for path in (ROOT / app).rglob("*.py")
    }
    assert there == {name for name in SETUPTOOLS["packages"] if ".shipped." not in name}


def test_what_is_shipped_beside_the_code_exists() -> None:
    for package, folder in SETUPTOOLS["package-dir"].items():
        for pattern in SETUPTOOLS["package-data"][package]:
            assert list((ROOT / folder).glob(pattern)), (folder, pattern)


def test_the_top_of_the_checkout_is_what_a_newcomer_expects() -> None:
    hidden_or_made = {"var", "build", "dist", "node_modules"}
    folders = {p.name for p in ROOT.iterdir() if p.is_dir() and not p.name.startswith((".", "__"))}
    assert folders - hidden_or_made == {
        *("gateway", "providers", "clients", "telemetry", "templates", "tests", "uat", "config", "docs"),
    }
