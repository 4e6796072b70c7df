"""The guides inside the product: complete, linked, harmless."""

import re
import struct
from pathlib import Path

import pytest

from gateway.guides import GUIDES, anchor, render
from gateway.throttle import EXPORTS, Throttle
from gateway.throttle import GUIDES as GUIDES_READ

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.mark.parametrize("name", ["", *GUIDES])
def test_every_guide_is_there_and_all_its_links_lead_somewhere(name: str) -> None:
    html = render(DOCS, name, "/docs/")
    assert html is not None
    for page, fragment in re.findall(r'href="(?:/docs/([a-z]*))?(?:#([^"]*))?"', html):
        target = render(DOCS, page or name, "/docs/")
        assert target is not None, page
        assert not fragment or f'id="{fragment}"' in target, (page, fragment)


def test_links_are_kept_between_guides_and_dropped_to_other_files(tmp_path: Path) -> None:
    text = (
        "# A b\n[one](runbook.md#log-lines) [two](../manage.py) [three](https://example.org) [up](README.md)"
    )
    (tmp_path / "clients.md").write_text(text)
    html = render(tmp_path, "clients", "/docs/") or ""
    assert '<h1 id="a-b">' in html
    assert 'href="/docs/runbook#log-lines"' in html
    assert "<a>two</a>" in html
    assert 'href="https://example.org"' in html
    assert '<a href="/docs/">up</a>' in html


def test_html_and_scripts_in_a_guide_stay_text(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("<script>x</script> [a](javascript:x)")
    html = render(tmp_path, "", "/docs/") or ""
    assert "<script>" not in html
    assert "href" not in html


@pytest.mark.parametrize("name", ["nosuch", "../README", "/etc/passwd"])
def test_an_unknown_guide_is_none(name: str) -> None:
    assert render(DOCS, name, "/docs/") is None


def test_anchors_are_those_of_code_hosts() -> None:
    assert anchor("What `/health` says, and why") == "what-health-says-and-why"


@pytest.mark.parametrize(("throttle", "what"), [(GUIDES_READ, "pages of the guides"), (EXPORTS, "exports")])
def test_what_staff_may_open_in_a_minute_stands_in_the_guide(throttle: Throttle, what: str) -> None:
    most, _, period = throttle.rate.partition("/")
    assert period == "m"
    assert "in a minute" in throttle.message
    assert f"{most} {what}" in (DOCS / "operators.md").read_text()


@pytest.mark.parametrize("name", GUIDES)
def test_every_picture_has_its_place_before_it_comes(name: str) -> None:
    html = render(DOCS, name, "/docs/") or ""
    pictures = re.findall(r'<img src="/docs/images/([^"]+)\.png"[^>]* width="(\d+)" height="(\d+)"', html)
    assert len(pictures) == html.count("<img ")
    for picture, width, height in pictures[:10]:
        data = (DOCS / "images" / f"{picture}.png").read_bytes()
        assert data[12:16] == b"IHDR"
        assert (int(width), int(height)) == struct.unpack(">II", data[16:24])


def test_a_picture_that_is_not_there_or_is_none_leaves_the_page_whole(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "cut.png").write_bytes(b"\x89PNG")
    (tmp_path / "README.md").write_text("![one](images/cut.png) ![two](images/gone.png)\n\nText.\n")
    html = render(tmp_path, "", "/docs/") or ""
    assert html.count("<img ") == 2
    assert "width" not in html
    assert "Text." in html
