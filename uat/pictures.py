#!/usr/bin/env python3
"""Pictures of every page for the guides, from the real pages, in light and dark, and `docs/pictures.md`.

    .venv/bin/python uat/pictures.py [--only NAME …]

Starts gateways of its own over the tests' fake provider: an empty one, where it follows the words of the
walk-through (`picture_walk.py`), and one with clients, calls and changes to look at (`picture_pages.py`). Needs
Chromium.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import django
import environment  # noqa: F401 - the tests' settings, before anything reads them
from picture_acts import logged_in
from picture_book import SCHEMES, Shot, Step, book
from picture_file import smaller
from picture_pages import GROUPS
from picture_stage import Stage, after_a_morning, empty
from picture_walk import BEFORE, WALK
from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as BrowserError
from walking import first_call, follow, look_for

BOOK = ROOT / "docs" / "pictures.md"
IMAGES = ROOT / "docs" / "images"
AS_ELSEWHERE = """(pairs) => {
    const swap = (text) => pairs.reduce((said, [here, there]) => said.replaceAll(here, there), text);
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const places = [...document.querySelectorAll("input:not([type=file]), textarea")].map((one) => [one, "value"]);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) places.push([node, "data"]);
    const changed = places.filter(([place, name]) => swap(place[name]) !== place[name]);
    window.asHere = changed.map(([place, name]) => [place, name, place[name]]);
    for (const [place, name] of changed) place[name] = swap(place[name]);
}"""
AS_HERE = "for (const [place, name, text] of window.asHere) place[name] = text"


@contextmanager
def browsing() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])


def tab(browser: Browser, height: int = 700) -> Page:
    """Its context's first page stays empty: that is where pictures are made smaller."""
    context = browser.new_context(viewport={"width": 1200, "height": height})
    context.set_default_timeout(15_000)
    context.new_page()
    return context.new_page()


def walk(browser: Browser, steps: Sequence[Step]) -> None:
    """From the first step to the last, each done as it is written."""
    with empty() as stage:
        gateway, page = stage.gateway, tab(browser)
        instead = {"http://localhost:1234/v1": stage.fake.url, "http://127.0.0.1:4037": gateway.url}
        for step in steps:
            follow(page, step.do, lambda name: (gateway.folder / name).read_text().strip(), instead)
            if step.name:
                look_for(page, step.see)
                picture(page, stage, f"{step.name}-light", whole=True)
            else:
                answer = first_call(page, gateway.url)
                assert "my-lmstudio" in answer, answer
                assert gateway.wait_for_records(1, 20, tool_id="editor")


def take(page: Page, stage: Stage, shot: Shot) -> None:
    page.emulate_media(color_scheme="light")
    page.goto(stage.gateway.url + shot.path)
    shot.prepare(page, stage.gateway)
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        picture(page, stage, f"{shot.name}-{scheme}", whole=shot.whole)


def picture(page: Page, stage: Stage, name: str, *, whole: bool) -> None:
    worker = page.context.pages[0]
    page.evaluate(AS_ELSEWHERE, list(stage.shown.items()))
    page.wait_for_timeout(250)
    png = page.screenshot(full_page=whole, animations="disabled", caret="hide")
    page.evaluate(AS_HERE)
    (IMAGES / f"{name}.png").write_bytes(smaller(worker, png))
    print(name, flush=True)


def pages(browser: Browser, shots: Sequence[Shot]) -> list[str]:
    """Takes what it can; returns what it could not, and why."""
    missing = []
    with after_a_morning() as stage:
        ada = tab(browser)
        logged_in("ada")(ada, stage.gateway)
        for shot in shots:
            page = ada if shot.who else tab(browser)
            try:
                take(page, stage, shot)
            except BrowserError as error:
                missing.append(f"{shot.name}: {error}")
            if not shot.who:
                page.context.close()
    return missing


def main() -> None:
    parser = argparse.ArgumentParser(description="Takes the guides' pictures from the real pages.")
    parser.add_argument(
        "--only", nargs="*", help="names of pictures, walk for the walk-through; all when left out"
    )
    wanted = parser.parse_args().only
    shots = [shot for group in GROUPS.values() for shot in group if not wanted or shot.name in wanted]
    IMAGES.mkdir(exist_ok=True)
    os.environ["DJANGO_SETTINGS_MODULE"] = "gateway.settings"
    django.setup()  # rows of the gateways' databases are asked for from here
    with browsing() as browser:
        if not wanted or "walk" in wanted:
            walk(browser, WALK)
        missing = pages(browser, shots) if shots else []
    BOOK.write_text(book(GROUPS, WALK, BEFORE))
    if missing:
        sys.exit("\n".join(["Not taken:", *missing]))


if __name__ == "__main__":
    main()
