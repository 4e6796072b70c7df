"""Somebody who has never seen the product adds LM Studio and issues a token, with nothing but `docs/pictures.md`."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import RunningGateway, running_gateway
from fake_provider import FakeProvider
from playwright.sync_api import Page
from test_browser import complaints, page

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "uat"))
from walking import first_call, follow, look_for  # noqa: E402 - the path is set above

__all__ = ("page",)
pytestmark = pytest.mark.browser
STEP = re.compile(r"^### \d+\. .+\n\n(?P<do>.+)\n\nYou see (?P<see>.+)$", re.MULTILINE)
TERMINAL = "in a terminal"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[RunningGateway]:
    with running_gateway(tmp_path, {"providers": {}}, {"clients": []}) as running:
        yield running


def steps() -> list[tuple[str, str]]:
    text = (ROOT / "docs" / "pictures.md").read_text()
    return [(match["do"], match["see"]) for match in STEP.finditer(text)]


def test_the_words_beside_the_pictures_lead_to_a_call(
    page: Page, gateway: RunningGateway, fake: FakeProvider
) -> None:
    fake.models[:] = ["gemma-3-270m"]
    found, answer = complaints(page), ""
    instead = {"http://localhost:1234/v1": fake.url, "http://127.0.0.1:4037": gateway.url}
    for do, see in steps():
        if TERMINAL in do:
            answer = first_call(page, gateway.url)
            assert all(quoted in answer for quoted in re.findall(r"`([^`]+)`", see)), answer
            assert gateway.wait_for_records(1, tool_id="editor")
        else:
            assert follow(page, do, lambda name: (gateway.folder / name).read_text().strip(), instead), do
            look_for(page, see)
    assert [hit.body["messages"][-1]["content"] for hit in fake.hits if hit.body] == ["Hello!"]
    assert answer
    assert found == []
