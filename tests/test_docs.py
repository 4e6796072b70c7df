"""The examples in the guide for client authors do what it says: each is run against a real gateway."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import BOB, RunningGateway

GUIDE = Path(__file__).resolve().parent.parent / "docs" / "clients.md"
EXAMPLES = re.findall(r"^```(bash|python)\n(.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def env(shared: RunningGateway) -> dict[str, str]:
    return os.environ | {"TOKEN": BOB, "PYTHONWARNINGS": "default", "NO_PROXY": "127.0.0.1"}


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_the_examples_for_client_authors_run(
    shared: RunningGateway, env: dict[str, str], number: int
) -> None:
    language, text = EXAMPLES[number]
    assert "http://127.0.0.1:4037" in text
    text = text.replace("http://127.0.0.1:4037", shared.url)
    command = ["bash", "-euc", text] if language == "bash" else [sys.executable, "-c", text]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert '"error"' not in done.stdout


def test_there_are_examples_for_every_route() -> None:
    text = "\n".join(text for _, text in EXAMPLES)
    for route in ("/mcp/chat", "/mcp/chatStream", "/mcp/embed", "/mcp/models", "/health"):
        assert re.search(rf"4037{route}\b", text), route
