"""`manage.py write_docs`: the generated pages, from the code that they describe."""

import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from gateway.environment import BASE_DIR, render_docs, render_example
from providers.adapters import ADAPTERS
from providers.types import CAPABILITIES
from telemetry import families


class Command(BaseCommand):
    help = "Writes .env.example, docs/settings.md, docs/adapters.md and docs/metrics.md."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--check", action="store_true", help="exit 1 when a page is out of date")

    def handle(self, *args: Any, **options: Any) -> None:
        stale = []
        for name, text in pages().items():
            path = BASE_DIR / name
            if path.exists() and path.read_text(encoding="utf-8") == text:
                continue
            stale.append(name)
            if not options["check"]:
                path.write_text(text, encoding="utf-8")
                self.stdout.write(f"wrote {name}")
        if stale and options["check"]:
            self.stderr.write(f"Out of date: {', '.join(stale)}; run manage.py write_docs")
            sys.exit(1)


def pages() -> dict[str, str]:
    return {
        ".env.example": render_example(),
        "docs/settings.md": render_docs(),
        "docs/adapters.md": _adapters(),
        "docs/metrics.md": families.render_docs(),
    }


def _adapters() -> str:
    lines = [
        "# Kinds of providers",
        "",
        "Generated from `providers/adapters/` by `manage.py write_docs`; do not edit.",
        "",
    ]
    heads = ["kind", "label", *CAPABILITIES, "default base URL", "default credential", "what it is"]
    lines += [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for adapter in ADAPTERS.values():
        cells = [f"`{adapter.kind}`", adapter.label]
        cells += ["yes" if name in adapter.capabilities else "–" for name in CAPABILITIES]
        cells += [adapter.default_base_url or "–", adapter.default_key_env or "–", adapter.description]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
