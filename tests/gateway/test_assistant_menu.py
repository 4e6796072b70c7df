"""The assistant as Ada uses it: answers go in, the database and the files come out. Questions are a script."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk import full_at
from django.conf import settings
from fake_provider import FakeProvider

from clients.loader import issue, load_directory
from gateway.assistant.menu import Menu
from gateway.assistant.prompts import Console
from gateway.backups import backups_of
from gateway.configfile import import_files, peppers
from gateway.models import ConfigVersion
from gateway.rendering import CLIENTS, PROVIDERS, render
from providers.loader import load_catalog
from providers.secrets import KeyRing
from providers.stored_keys import keep
from providers.types import Secret, Timeouts

pytestmark = pytest.mark.django_db
CANARY = "sk-canary-assistant-77"
ADD, CHANGE, DELETE, FIND = "2", "3", "4", "5"
LIST_CLIENTS, ADD_CLIENT, CHANGE_CLIENT, DELETE_CLIENT, NEW_TOKEN, REVOKE = "6", "7", "8", "9", "10", "11"
SHOW, SAVE, EXIT = "12", "13", "14"
TIMEOUTS = Timeouts(connect_ms=1, first_event_ms=1, idle_ms=1, total_ms=1)
GPU = {"baseUrl": "http://localhost:1234/v1", "defaultModel": "m", "capabilities": ["chat"]}


class Dialogue:
    """A person who gives these answers, and what was shown. Ctrl+D when there are none left."""

    def __init__(self, *answers: str | type[KeyboardInterrupt]) -> None:
        self.answers, self.secret_prompts, self.lines = list(answers), list[str](), list[str]()

    def ask(self, prompt: str) -> str:
        self.lines.append(prompt)
        if not self.answers:
            raise EOFError
        answer = self.answers.pop(0)
        if isinstance(answer, str):
            return answer
        raise answer

    def ask_secret(self, prompt: str) -> str:
        self.secret_prompts.append(prompt)
        return self.ask(prompt)

    def console(self) -> Console:
        return Console(self.ask, self.ask_secret, self.lines.append)

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def run(self) -> int:
        return Menu(self.console(), "config assistant, ada").run()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    """The configuration's folder, with the files of the database's state."""
    before, settings.CONFIG_DIR = settings.CONFIG_DIR, tmp_path / "config"
    settings.CONFIG_DIR.mkdir()
    documents = {
        PROVIDERS: {"providers": {"lmstudio_gpu": GPU}},
        CLIENTS: {"clients": [{"toolId": "bob", "token": "bob-token", "allowedMethods": ["chat"]}]},
    }
    for name, document in documents.items():
        (settings.CONFIG_DIR / name).write_text(json.dumps(document))
    import_files({name: settings.CONFIG_DIR / name for name in documents})
    yield settings.CONFIG_DIR
    settings.CONFIG_DIR = before


def providers() -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(render(PROVIDERS))["providers"]
    return entries


def clients() -> dict[str, Any]:
    return {entry["toolId"]: entry for entry in json.loads(render(CLIENTS))["clients"]}


@pytest.mark.django_db(transaction=True)
def test_a_provider_is_added_saved_and_written_with_a_backup(folder: Path) -> None:
    old = (folder / PROVIDERS).read_bytes()
    ada = Dialogue(
        ADD,
        "lmstudio_b",
        "",
        "",
        "",
        "1,3",
        "n",
        "qwen",
        "Score for chat",
        "95",
        "",
        SHOW,
        SAVE,
        "ticket 7",
        EXIT,
    )
    assert ada.run() == 0
    entry = {"baseUrl": "http://localhost:1234/v1", "defaultModel": "qwen", "capabilities": ["chat", "embed"]}
    assert providers() == {"lmstudio_gpu": GPU, "lmstudio_b": entry | {"scores": {"chat": 95}}}
    assert any(
        line.startswith("provider lmstudio_b: added (baseUrl http://localhost:1234") for line in ada.lines
    )
    last = ConfigVersion.objects.first()
    assert last is not None
    assert (last.author, last.reason) == ("config assistant, ada", "ticket 7")
    assert (folder / PROVIDERS).read_bytes() == render(PROVIDERS)
    (backup,) = backups_of(folder / PROVIDERS)
    assert backup.read_bytes() == old
    assert ada.answers == []


def test_mistakes_are_told_in_the_words_of_an_import_and_asked_again() -> None:
    ada = Dialogue(
        *(ADD, "two words", "lmstudio_gpu", "new", "morse", "4", "ftp://x", "http://u:p@h/", "http://10.1.2.3/v1"),
        *("2", "not a name", "MY_KEY", "chat,dance", "1,1", "n", "", "?", "m", "9", "0", "3", "", SAVE, "", EXIT),
    )  # fmt: skip
    assert ada.run() == 0
    for said in (
        "The name has letters, digits, dots, dashes and underscores, at most 100",
        "A provider of this name is there already; change that one.",
        "Unknown kind; known are lmstudio, openai, anthropic, openai-compatible",
        "An http:// or https:// URL is needed",
        "Credentials do not belong into the URL; use apiKey",
        "The name of an environment variable is needed, never a key",
        "Unknown value 'dance'",
        "This is needed. ? explains it, < goes back.",
        "Asked for when neither the caller nor a capability names a model.",
        "At least 1",
    ):
        assert f"  {said}" in ada.lines or said in " ".join(ada.text.split()), said
    assert "neither public nor loopback" in " ".join(ada.text.split()), (
        "what an import warns of is told at once"
    )
    assert providers()["new"] == {
        "baseUrl": "http://10.1.2.3/v1",
        "defaultModel": "m",
        "capabilities": ["chat"],
        "apiKey": {"env": "MY_KEY"},
        "maxConcurrency": 3,
    }


def test_a_whole_entry_that_does_not_fit_its_kind_is_not_taken() -> None:
    ada = Dialogue(CHANGE, "1", "3", "1,3", "1", "anthropic", "", "1", "lmstudio", "", SAVE, "", EXIT)
    assert ada.run() == 0
    assert "  capabilities.1: Providers of kind anthropic have no embed" in ada.lines
    assert providers()["lmstudio_gpu"] == GPU | {"capabilities": ["chat", "embed"]}


def test_a_stored_key_is_typed_unseen_and_sealed_when_saved() -> None:
    ada = Dialogue(CHANGE, "lmstudio_gpu", "key", "4", "", CANARY, "", "1", SAVE, "", EXIT)
    ada.run()
    assert len(ada.secret_prompts) == 2, "an empty key is asked for again"
    assert CANARY not in ada.text
    catalog = load_catalog(TIMEOUTS, KeyRing(settings.ENCRYPTION_KEYS))
    key = catalog.providers["lmstudio_gpu"].api_key
    assert key is not None
    assert key.reveal() == CANARY
    assert providers()["lmstudio_gpu"]["apiKey"] == {"stored": True}
    again = Dialogue(CHANGE, "1", "key", "4", "", "default model", "m2", "", SAVE, "", EXIT)
    again.run()
    catalog = load_catalog(TIMEOUTS, KeyRing(settings.ENCRYPTION_KEYS))
    kept = catalog.providers["lmstudio_gpu"]
    assert kept.api_key is not None
    assert (kept.api_key.reveal(), kept.default_model) == (CANARY, "m2")


def test_models_are_found_and_taken_over_by_number(fake: FakeProvider) -> None:
    fake.models = ["alpha", "beta"]
    ada = Dialogue(CHANGE, "1", "2", fake.url, "", FIND, "1", "2", "1,beta", SAVE, "", EXIT)
    assert ada.run() == 0
    assert "lmstudio_gpu has 2 models. Enter keeps what is in brackets, - empties a list." in ada.lines
    entry = providers()["lmstudio_gpu"]
    assert (entry["defaultModel"], entry["models"]) == ("beta", ["alpha", "beta"])


def test_a_provider_that_does_not_answer_is_told_and_stops_nothing(fake: FakeProvider) -> None:
    fake.models_status = 401
    ada = Dialogue(
        CHANGE,
        "1",
        "2",
        fake.url,
        "",
        FIND,
        "1",
        ADD,
        "b",
        "",
        fake.url,
        "2",
        "NO_SUCH_KEY",
        "",
        "y",
        "m",
        "",
    )
    assert ada.run() == 1
    told = " ".join(ada.text.split())
    assert "lmstudio_gpu: The provider refused the credential (status 401). Replace the key" in told
    assert "The environment variable NO_SUCH_KEY is not set. Set it where it is expected" in told


def test_a_client_gets_a_token_that_is_shown_once_and_works() -> None:
    ada = Dialogue(
        ADD_CLIENT, "my-editor", "1,5", "6", "10 per 1000", "", "", "90d", SAVE, "", LIST_CLIENTS, EXIT
    )
    assert ada.run() == 0
    shown = [line for line in ada.lines if line.startswith("llmc_")]
    assert len(shown) == 1
    caller = load_directory(peppers()).identify(shown[0])
    assert caller is not None
    entry = clients()["my-editor"]
    assert (entry["allowedMethods"], entry["rateLimit"]) == (
        ["chat", "models"],
        {"maxRequests": 10, "intervalMs": 1000},
    )
    assert entry["tokens"][0]["expiresAt"]
    assert shown[0] not in (settings.CONFIG_DIR / CLIENTS).read_text()


def test_a_token_is_revoked_and_one_not_issued_yet_is_withdrawn() -> None:
    ada = Dialogue(
        NEW_TOKEN, "bob", "", REVOKE, "1", "2", REVOKE, "1", "1", SAVE, "leaked", REVOKE, "1", EXIT
    )
    assert ada.run() == 0
    assert load_directory(peppers()).identify("bob-token") is None
    (token,) = clients()["bob"]["tokens"]
    assert token["revokedAt"]
    assert "bob has no token that could be revoked." in ada.lines
    assert not any(line.startswith("llmc_") for line in ada.lines)


def test_deleting_asks_and_a_question_can_be_left() -> None:
    ada = Dialogue(DELETE, "1", "n", DELETE_CLIENT, "1", "<", CHANGE_CLIENT, "", ADD, "x", "<", "99", EXIT)
    assert ada.run() == 0
    assert (list(providers()), list(clients())) == (["lmstudio_gpu"], ["bob"])
    Dialogue(DELETE, "1", "y", DELETE_CLIENT, "1", "y", SAVE, "", EXIT).run()
    assert (providers(), clients()) == ({}, {})
    ada = Dialogue("1", LIST_CLIENTS, CHANGE, EXIT)
    ada.run()
    assert "There are no providers yet. Add one, for example LM Studio on this machine." in ada.lines


def test_leaving_with_unsaved_changes_asks_once() -> None:
    edit = (CHANGE, "1", "4", "m2", "")
    for last, code in (
        ((EXIT, "2"), 0),
        ((EXIT,), 1),
        ((), 1),
        ((KeyboardInterrupt, KeyboardInterrupt), 1),
        ((KeyboardInterrupt, "2"), 0),
    ):
        ada = Dialogue(*edit, *last)
        assert ada.run() == code
        assert ada.lines.count("There are unsaved changes.") == 1
        assert providers()["lmstudio_gpu"]["defaultModel"] == "m"
    assert Dialogue(*edit, KeyboardInterrupt, "3", EXIT, "1", "why").run() == 0
    assert providers()["lmstudio_gpu"]["defaultModel"] == "m2"


def test_with_nothing_unsaved_ctrl_c_and_ctrl_d_just_leave() -> None:
    assert (Dialogue().run(), Dialogue(KeyboardInterrupt).run()) == (0, 0)
    ada = Dialogue(ADD, "half", KeyboardInterrupt)
    assert ada.run() == 0
    assert "There are unsaved changes." not in ada.lines


@pytest.mark.django_db(transaction=True)
def test_a_change_by_somebody_else_is_told_and_reloaded_or_overwritten() -> None:
    for answer, model, left in (("1", "m", "carol"), ("2", "m2", None), ("3", "m", "carol")):
        ada = Dialogue(CHANGE, "1", "4", "m2", "", SAVE, "mine", answer, EXIT, "2")
        menu = Menu(ada.console(), "config assistant, ada")
        issue("carol", ("chat",), peppers()[0])
        assert menu.run() == 0
        assert "The configuration was changed since you began, by somebody at" in " ".join(ada.text.split())
        assert "  client carol: added (allowedMethods chat)" in ada.lines
        assert providers()["lmstudio_gpu"]["defaultModel"] == model
        assert ("carol" in clients()) == (left == "carol")
        import_files({PROVIDERS: settings.CONFIG_DIR / PROVIDERS, CLIENTS: settings.CONFIG_DIR / CLIENTS})
        Dialogue(CHANGE, "1", "4", "m", "", SAVE, "", EXIT).run()


def test_a_file_that_cannot_be_written_keeps_its_backup_and_the_save_can_be_repeated(folder: Path) -> None:
    old = (folder / PROVIDERS).read_bytes()
    ada = Dialogue(CHANGE, "1", "notes", "n" * 2000, "", SAVE, "")
    menu = Menu(ada.console(), "config assistant, ada")
    with full_at(1000):
        assert menu.run() == 1
    (backup,) = backups_of(folder / PROVIDERS)
    assert (folder / PROVIDERS).read_bytes() == backup.read_bytes() == old
    told = " ".join(ada.text.split())
    assert f"providers.json could not be written (File too large); its backup is {backup.name}" in told
    assert "The database has your changes, the file does not." in told
    assert providers()["lmstudio_gpu"]["notes"] == "n" * 2000
    ada.answers = [SAVE, "", EXIT]
    assert menu.run() == 0
    assert (folder / PROVIDERS).read_bytes() == render(PROVIDERS)
    assert (folder / CLIENTS).read_bytes() == render(CLIENTS)
    assert backup in backups_of(folder / PROVIDERS)


def test_a_draft_that_the_database_does_not_take_is_still_there() -> None:
    """The menu makes no such draft: an alias whose provider is not there."""
    ada = Dialogue(CHANGE, "1", "4", "m2", "", SAVE, "", EXIT, "3")
    menu = Menu(ada.console(), "config assistant, ada")
    menu.draft.now.providers["aliases"] = {"fast": "nowhere/m"}
    assert menu.run() == 1
    assert "providers.json (draft)#/aliases/fast: There is no provider 'nowhere'" in ada.lines
    assert "1 problem(s); nothing was saved. Your draft is still here." in ada.lines
    assert providers()["lmstudio_gpu"] == GPU


def test_a_file_changed_by_hand_is_not_replaced_without_a_question(folder: Path) -> None:
    by_hand = json.dumps({"providers": {"by_hand": GPU}})
    (folder / PROVIDERS).write_text(by_hand)
    ada = Dialogue(CHANGE, "1", "4", "m2", "", SAVE, "n", SAVE, "y", "", EXIT)
    assert ada.run() == 0
    assert "was changed by hand" in " ".join(ada.text.split())
    (backup,) = backups_of(folder / PROVIDERS)
    assert backup.read_text() == by_hand
    assert providers()["lmstudio_gpu"]["defaultModel"] == "m2"


def test_a_folder_that_is_none_is_told_and_the_draft_stays(folder: Path) -> None:
    settings.CONFIG_DIR = folder / PROVIDERS
    ada = Dialogue(CHANGE, "1", "4", "m2", "", SAVE, "", EXIT, "2")
    assert ada.run() == 0
    assert "providers.json could not be read for its backup (Not a directory)" in " ".join(ada.text.split())
    assert "1 provider(s), 1 client(s); saved in the database, but not in the files" in ada.lines


def test_characters_that_cannot_be_shown_and_keys_that_cannot_be_sent_are_asked_for_again() -> None:
    ada = Dialogue(
        CHANGE, "1", "4", "a\udc9b", "m\x1b2", "m2", "key", "4", f"{CANARY}é", CANARY, "", EXIT, "2"
    )
    assert ada.run() == 0
    assert ada.lines.count("  That holds characters that cannot be shown; type it without them.") == 2
    assert "  A key has at most 4096 characters, all of them ASCII." in ada.lines
    assert "provider lmstudio_gpu: a new key is sealed into the database" not in ada.lines
    assert CANARY not in ada.text


def test_stored_texts_do_not_reach_the_terminal_s_controls() -> None:
    notes = "a\x1b[2Jb\x9bc\u202ed"
    entry = {"toolId": "eve", "allowedMethods": [], "notes": notes}
    path = settings.CONFIG_DIR / "elsewhere.json"
    path.write_text(json.dumps({"clients": [entry]}))
    import_files({CLIENTS: path}, merge=True)
    ada = Dialogue(CHANGE_CLIENT, "2", "<")
    ada.run()
    assert all(character.isprintable() or character == "\n" for character in ada.text)


def test_who_would_not_be_served_any_more_is_said_before_saving(folder: Path) -> None:
    token = issue("bob", ("chat",), peppers()[0])
    dialogue = Dialogue(DELETE_CLIENT, "1", "y", SAVE)
    dialogue.run()
    (warned,) = [n for n, line in enumerate(dialogue.lines) if f"{token.token_id} of client bob" in line]
    assert dialogue.lines[warned].startswith("warning: Tokens ")
    assert "Reason, for the history" in dialogue.lines[warned + 1]
    assert "bob" in clients(), "nothing was saved"


def test_a_stored_key_that_would_be_lost_is_said_before_saving() -> None:
    keep("lmstudio_gpu", Secret(CANARY), KeyRing(settings.ENCRYPTION_KEYS))
    said = "warning: The key stored for lmstudio_gpu is deleted for good"
    dialogue = Dialogue(CHANGE, "1", "key", "1", "", SAVE)
    dialogue.run()
    assert said in dialogue.text
    replaced = Dialogue(CHANGE, "1", "key", "4", "sk-new", "", SAVE)
    replaced.run()
    assert said not in replaced.text


def test_a_number_beyond_a_list_is_refused_and_not_taken_for_a_name(fake: FakeProvider) -> None:
    fake.models = ["alpha", "beta"]
    ada = Dialogue(CHANGE, "1", "2", fake.url, "", FIND, "1", "12", "0", "2", "1,7", "1", SAVE, "", EXIT)
    assert ada.run() == 0
    assert ada.lines.count("  Type a number from 1 to 2, or a name.") == 3
    entry = providers()["lmstudio_gpu"]
    assert (entry["defaultModel"], entry["models"]) == ("beta", ["alpha"])


def test_a_script_that_ends_among_the_questions_of_a_form_has_not_saved() -> None:
    ada = Dialogue(ADD_CLIENT, "new tool", "9", "", "13")
    assert ada.run() == 1
    assert "Left in the middle of a question: what was typed for it is dropped." in ada.lines
    assert "There are unsaved changes." not in ada.lines, "the form was never in the draft"
    assert list(clients()) == ["bob"]


def test_who_counts_on_a_provider_is_named_before_it_is_deleted() -> None:
    document = {
        "clients": [{"toolId": "far", "allowedMethods": ["chat"], "allowedProviders": ["lmstudio_gpu"]}]
    }
    path = settings.CONFIG_DIR / "far.json"
    path.write_text(json.dumps(document))
    import_files({CLIENTS: path}, merge=True)
    ada = Dialogue(DELETE, "1", "n", EXIT)
    assert ada.run() == 0
    told = " ".join(ada.text.split())
    assert (
        "warning: No provider is left: nothing answers anybody. Clients that may use no other provider"
        in told
    )
    assert told.index("nothing answers them: far.") < told.index("Delete lmstudio_gpu?")


def test_a_question_mark_explains_the_menu_a_list_and_a_yes_or_no() -> None:
    ada = Dialogue("?", DELETE, "?", "1", "?", "n", EXIT)
    assert ada.run() == 0
    told = " ".join(ada.text.split())
    assert "save changes the database and writes the files" in told
    assert "Type the number of a line above, or how its text begins. Enter alone: back." in told
    assert "Type y or n; Enter alone means no, < goes back." in told


def test_what_cannot_be_changed_here_says_where_it_can() -> None:
    ada = Dialogue(ADD, "?", "<", ADD_CLIENT, "?", "<", EXIT)
    assert ada.run() == 0
    assert " ".join(ada.text.split()).count("Here it cannot be changed later; the admin can.") == 2
