"""The permissions grid: what differs is saved, and nothing else."""

from html.parser import HTMLParser

import pytest
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from people import ada, client, olga, queries

from clients.grants import change_methods
from clients.models import Client, MethodPermission
from clients.types import METHODS
from gateway.models import ConfigVersion

pytestmark = pytest.mark.django_db
GRID = "/admin/clients/client/permissions/"


@pytest.fixture(autouse=True, scope="module")
def _static_files() -> None:
    call_command("collectstatic", interactive=False, verbosity=0)


class Form(HTMLParser):
    """What a browser would send back of the grid, unless something is ticked or unticked."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.sent: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        name, value = given.get("name") or "", given.get("value") or ""
        is_sent = given.get("type") == "hidden" or "checked" in given
        if tag == "input" and is_sent and name.startswith(("shown-", "may-")):
            self.sent.setdefault(name, []).append(value)

    def tick(self, row: Client, method: str) -> None:
        self.sent.setdefault(f"may-{row.pk}", []).append(method)

    def untick(self, row: Client, method: str) -> None:
        self.sent[f"may-{row.pk}"].remove(method)


def shown(**query: str) -> Form:
    return Form(ada().get(GRID, query).content.decode())


def granted(row: Client) -> list[str]:
    rows = MethodPermission.objects.filter(client=row).order_by("position", "pk")
    return [permission.method for permission in rows]


def test_what_is_ticked_and_unticked_is_saved_and_told_per_client() -> None:
    bob, charlie, eve = client("bob", "chat", "models"), client("charlie"), client("eve", "embed")
    form = shown()
    form.untick(bob, "chat")
    form.tick(bob, "getHealth")
    form.tick(charlie, "embed")
    answer = ada().post(GRID, form.sent, follow=True)
    assert "Changed 2 clients." in answer.content.decode()
    assert (granted(bob), granted(charlie), granted(eve)) == (["models", "getHealth"], ["embed"], ["embed"])
    said = {entry.object_repr: entry.get_change_message() for entry in LogEntry.objects.all()}
    assert said == {
        "bob": "Permissions grid: granted getHealth; took away chat.",
        "charlie": "Permissions grid: granted embed.",
    }


def test_saving_an_untouched_grid_changes_nothing() -> None:
    client("bob", "models", "chat")
    rows = list(MethodPermission.objects.values_list("pk", "position"))
    answer = ada().post(GRID, shown().sent, follow=True)
    assert "Nothing was changed." in answer.content.decode()
    assert list(MethodPermission.objects.values_list("pk", "position")) == rows
    assert not LogEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_save_is_one_version_of_the_configuration_and_none_when_nothing_changed() -> None:
    bob, eve = client("bob", "chat"), client("eve")
    form = shown()
    before = ConfigVersion.objects.count()
    ada().post(GRID, form.sent)
    assert ConfigVersion.objects.count() == before
    form.untick(bob, "chat")
    form.tick(eve, "embed")
    ada().post(GRID, form.sent)
    assert ConfigVersion.objects.count() == before + 1


def test_what_somebody_else_changed_meanwhile_is_not_undone() -> None:
    bob, charlie = client("bob", "chat", "embed"), client("charlie", "chat")
    form = shown()
    change_methods(bob, add=["models"], remove=["embed"])
    change_methods(charlie, add=["embed"], remove=["chat"])
    form.untick(bob, "chat")
    ada().post(GRID, form.sent)
    assert granted(bob) == ["models"]
    assert granted(charlie) == ["embed"]


def test_the_same_change_made_twice_is_made_once() -> None:
    bob, eve = client("bob", "chat"), client("eve", "chat")
    form = shown()
    form.tick(bob, "embed")
    form.untick(eve, "chat")
    change_methods(bob, add=["embed"], remove=[])
    change_methods(eve, add=[], remove=["chat"])
    answer = ada().post(GRID, form.sent, follow=True)
    assert "Nothing was changed." in answer.content.decode()
    assert granted(bob) == ["chat", "embed"]
    assert not LogEntry.objects.exists()


def test_a_client_deleted_meanwhile_is_passed_over() -> None:
    bob, eve = client("bob"), client("eve")
    form = shown()
    form.tick(bob, "chat")
    form.tick(eve, "chat")
    bob.delete()
    ada().post(GRID, form.sent)
    assert granted(eve) == ["chat"]


def test_only_what_the_page_showed_can_be_changed_and_only_to_known_methods() -> None:
    bob = client("bob")
    ada().post(GRID, {f"may-{bob.pk}": ["chat"]})
    ada().post(GRID, {f"shown-{bob.pk}": "", f"may-{bob.pk}": ["fly"], "shown-x": "", "may-x": "chat"})
    assert granted(bob) == []


def test_the_grid_has_pages_of_fifty_and_a_filter() -> None:
    for n in range(60):
        client(f"tool-{n:02}")
    first, second = shown(), shown(p="2")
    assert (len(first.sent), len(second.sent)) == (50, 10)
    assert list(shown(q="ool-5").sent) == [
        f"shown-{Client.objects.get(tool_id=f'tool-{n}').pk}" for n in range(50, 60)
    ]
    assert "Next 50" in ada().get(GRID).content.decode()
    assert "No client's tool id contains" in ada().get(GRID, {"q": "<nobody>"}).content.decode().replace(
        "&#x27;", "'"
    )


def test_saving_stays_on_the_filtered_page() -> None:
    bob = client("bob")
    form = shown()
    form.tick(bob, "chat")
    answer = ada().post(f"{GRID}?q=bob&p=1", form.sent)
    assert answer.headers["location"] == f"{GRID}?q=bob&p=1"


def test_the_grid_asks_as_often_for_fifty_clients_as_for_one() -> None:
    client("tool-0", *METHODS)
    operator = ada()
    operator.get(GRID)
    one = queries(operator, GRID)
    for n in range(1, 50):
        client(f"tool-{n}", *METHODS)
    assert queries(operator, GRID) == one


def test_olga_sees_the_grid_and_may_not_save_it() -> None:
    bob = client("bob", "chat")
    auditor = olga("view_client")
    page = auditor.get(GRID).content.decode()
    assert page.count("disabled>") == len(METHODS)
    assert "Save" not in page
    assert auditor.post(GRID, {f"shown-{bob.pk}": "chat"}).status_code == 403
    assert granted(bob) == ["chat"]


def test_without_clients_the_grid_says_what_to_do() -> None:
    assert "Add the first one" in ada().get(GRID).content.decode()
