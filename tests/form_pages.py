"""Pages read without a browser: their links, and their forms sent back with changes."""

from html.parser import HTMLParser

import httpx
from conftest import RunningGateway

UNSENT = ("submit", "file", "radio", "checkbox")


class Links(HTMLParser):
    """The links of a page, and the fields of its forms as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.fields: dict[str, str] = {}
        self.passwords: list[str] = []
        self._select = self._area = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name = given.get("name", "")
        if tag == "a" and "href" in given:
            self.hrefs.append(given["href"])
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in given and self._select:
            self.fields[self._select] = given.get("value", "")
        elif tag == "textarea" and name:
            self._area, self.fields[name] = name, ""
        elif tag == "input" and name and given.get("type") == "password":
            self.passwords.append(name)
        elif tag == "input" and name and ("checked" in given or given.get("type") not in UNSENT):
            self.fields[name] = given.get("value", "on" if given.get("type") == "checkbox" else "")

    def handle_endtag(self, tag: str) -> None:
        self._select = "" if tag == "select" else self._select
        self._area = "" if tag == "textarea" else self._area

    def handle_data(self, data: str) -> None:
        if self._area:
            self.fields[self._area] += data.lstrip("\n") if not self.fields[self._area] else data


def sent(gateway: RunningGateway, path: str, changes: dict[str, str]) -> httpx.Response:
    """Opens a page with a form and sends it back with these changes."""
    page = Links(gateway.client.get(path).text)
    return gateway.client.post(path, data=page.fields | changes, headers=own_origin(gateway))


def submit(gateway: RunningGateway, path: str, changes: dict[str, str]) -> int:
    return sent(gateway, path, changes).status_code


def own_origin(gateway: RunningGateway) -> dict[str, str]:
    return {"Referer": f"{gateway.url}/admin/", "Origin": gateway.url}
