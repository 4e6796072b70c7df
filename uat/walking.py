"""Does what a step of the walk-through says, from its words alone, as somebody would who has never seen the product.

Understood: Open `address`. Click *name*. Type `text` into *field*. Type what stands in `file` into *field*.
Choose `option` under *field*. Tick *box*. The rest is for people.
"""

import re
import subprocess
import time
from collections.abc import Callable, Mapping

from playwright.sync_api import Locator, Page, expect

WORDS = re.compile(
    r"Open `(?P<open>[^`]+)`|Click \*(?P<click>[^*]+)\*|Tick \*(?P<tick>[^*]+)\*"
    r"|Type (?P<file>what stands in )?`(?P<text>[^`]+)` into \*(?P<field>[^*]+)\*"
    r"|Choose `(?P<option>[^`]+)` under \*(?P<list>[^*]+)\*"
)
PHRASE = re.compile(r"\*([^*]+)\*")


def follow(page: Page, words: str, read: Callable[[str], str], instead: Mapping[str, str]) -> int:
    """Returns how many things were done. `read`: a file of the text → what stands in it. `instead`: what stands
    in the text → what it is here, where ports differ."""
    found = list(WORDS.finditer(words))
    for match in found:
        told = match.groupdict()
        text = told["text"] or ""
        for here, there in instead.items():
            text = text.replace(here, there)
            told["open"] = told["open"] and told["open"].replace(here, there)
        if told["open"]:
            page.goto(told["open"])
        elif told["click"]:
            click(page, told["click"])
        elif told["tick"]:
            page.get_by_label(told["tick"], exact=True).check()
        elif told["field"]:
            field(page, told["field"]).fill(read(text) if told["file"] else text)
        else:
            field(page, told["list"]).select_option(told["option"])
    return len(found)


def click(page: Page, name: str) -> None:
    """The first link or button of that name, as one reads from the top."""
    button = page.get_by_role("button", name=name, exact=True)
    link = page.get_by_role("link", name=name, exact=True)
    link.or_(button).first.click()
    page.wait_for_load_state()


def field(page: Page, label: str) -> Locator:
    return page.get_by_label(re.compile(rf"^\s*{re.escape(label)}\s*:?", re.IGNORECASE)).first


def look_for(page: Page, see: str) -> None:
    """Each phrase in italics stands on the page, or is a button there, or a field."""
    for phrase in PHRASE.findall(see):
        there = (
            page.get_by_text(phrase)
            .or_(page.get_by_label(phrase))
            .or_(page.get_by_role("button", name=phrase))
        )
        expect(there.filter(visible=True).first).to_be_visible()


def first_call(page: Page, address: str, seconds: float = 5) -> str:
    """Runs what stands below *Try it in a terminal*. A new token is known within a second; a person is slower."""
    command = page.inner_text("#curl").replace("http://127.0.0.1:4037", address)
    until = time.monotonic() + seconds
    while True:
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        if "Unknown client token" not in done.stdout or time.monotonic() > until:
            return done.stdout
        time.sleep(0.1)
