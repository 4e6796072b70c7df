"""The menu: one turn after the other until the person leaves, and what saving and leaving ask and say."""

from collections.abc import Callable

from django.conf import settings
from django.db import DatabaseError

from gateway.assistant import client_menu, provider_menu
from gateway.assistant.changes import pending
from gateway.assistant.draft import Draft, clients, is_changed, providers
from gateway.assistant.prompts import HELP, Back, Console, position
from gateway.assistant.saving import (
    ChangedMeanwhile,
    Saved,
    begin,
    consequences,
    edited_by_hand,
    save,
    write_file,
)
from gateway.backups import SaveError
from gateway.reading import ImportRefused
from gateway.rendering import FILES

LEFT_CLEANLY, LEFT_UNSAVED = 0, 1
REASON = "edited in the config assistant"


Edit = Callable[[Console, Draft], Draft]
EDITS: dict[str, dict[str, Edit]] = {
    "Providers": {
        "list": provider_menu.show_all,
        "add": provider_menu.add,
        "change": provider_menu.change,
        "delete": provider_menu.delete,
        "find models": provider_menu.find_models,
    },
    "Clients": {
        "list": client_menu.show_all,
        "add": client_menu.add,
        "change": client_menu.change,
        "delete": client_menu.delete,
        "new token": client_menu.issue_token,
        "revoke token": client_menu.revoke_token,
    },
}
CHOICES: list[Edit] = [edit for group in EDITS.values() for edit in group.values()]
DRAFT = ("show changes", "save", "exit")
EXPLAINED = (
    "Type a number, or a word that only one line begins with.",
    "Providers are asked in the order of their list when their scores are equal. find models asks one for what it has.",
    "Clients are the tools that call the gateway. new token makes one when you save and shows it once; revoke token "
    "ends one.",
    "All of it is a draft: show changes tells what saving would do, save changes the database and writes the files, "
    "exit asks first when something is unsaved.",
)


class Menu:
    """`author`: who the changes are recorded as made by."""

    def __init__(self, console: Console, author: str) -> None:
        self.console, self.author = console, author
        self.draft = begin()
        self.unwritten, self.code = False, LEFT_CLEANLY
        self.actions: tuple[Callable[[], bool], ...] = (self.show_changes, self.save, self.exit)

    def run(self) -> int:
        """The exit code."""
        self.console.say("LLM Caller configuration. Nothing takes effect before you save.")
        self.console.say("Enter keeps what is in brackets, ? explains, < goes back, Ctrl+D leaves.")
        leaving = False
        while not leaving:
            try:
                leaving = self.step()
            except DatabaseError as error:
                self.console.say(
                    f"The database does not answer ({type(error).__name__}). Your draft is still here."
                )
        return self.code

    def step(self) -> bool:
        """A turn, and what leaving a question means. True when the person leaves."""
        try:
            return self.turn()
        except Back:
            self.console.say("Back to the menu.")
            return False
        except (EOFError, KeyboardInterrupt):
            self.console.say()
            return self.exit()

    def turn(self) -> bool:
        """One choice. True when the person leaves."""
        self.code = LEFT_CLEANLY
        self.show_menu()
        typed = self.console.line("Choice: ")
        if typed == HELP:
            for line in EXPLAINED:
                self.console.say(line, indent="  ")
            return False
        chosen = position(typed, [*("" for _ in CHOICES), *DRAFT])
        if not typed or chosen is None:
            self.console.say(f"Type a number from 1 to {len(CHOICES) + len(DRAFT)}.")
            return False
        if chosen >= len(CHOICES):
            return self.actions[chosen - len(CHOICES)]()
        try:
            self.draft = CHOICES[chosen](self.console, self.draft)
        except EOFError:  # a script that ended among its questions did not do what it was to do
            self.console.say()
            self.console.say("Left in the middle of a question: what was typed for it is dropped.")
            self.code = LEFT_UNSAVED
            raise
        return False

    def show_menu(self) -> None:
        self.console.say()
        self.console.say(
            f"{len(providers(self.draft))} provider(s), {len(clients(self.draft))} client(s); {self._state()}"
        )
        number = 0
        for group, words in [*((group, tuple(edits)) for group, edits in EDITS.items()), ("Draft", DRAFT)]:
            numbered = "  ".join(f"{n:>2} {word}" for n, word in enumerate(words, number + 1))
            self.console.say(f"{group:<10}{numbered}")
            number += len(words)

    def _state(self) -> str:
        if is_changed(self.draft):
            count = len(pending(self.draft))
            return f"{count} change{'s' if count != 1 else ''} not saved"
        return "saved in the database, but not in the files" if self.unwritten else "nothing to save"

    def show_changes(self) -> bool:
        for line in pending(self.draft) or ["Nothing is changed."]:
            self.console.say(line)
        return False

    def is_unsaved(self) -> bool:
        return is_changed(self.draft) or self.unwritten

    def exit(self) -> bool:
        """True when the person leaves; asks first when something is unsaved. To leave that question is an answer."""
        if not self.is_unsaved():
            return True
        self.console.say("There are unsaved changes.")
        try:
            chosen = self.console.pick("Leave how", ["save and leave", "leave without saving", "stay"])
            if chosen == 0:
                self.save()
                return not self.is_unsaved()
        except Back:
            return False
        except (EOFError, KeyboardInterrupt):
            self.console.say()
            self.console.say("Left without saving.")
            self.code = LEFT_UNSAVED
            return True
        return chosen == 1

    def save(self) -> bool:
        if not self.is_unsaved():
            self.console.say("There is nothing to save.")
            return False
        self.show_changes()
        for warning in consequences(self.draft):
            self.console.say(f"warning: {warning}")
        for name in edited_by_hand():
            self.console.say(
                f"{settings.CONFIG_DIR / name} was changed by hand since it last met the database. Saving replaces "
                "it; a backup is kept. To take over what it says, leave and run manage.py import_config."
            )
            if not self.console.confirm("Replace it?"):
                return False
        reason = self.console.line(f"Reason, for the history [{REASON}]: ") or REASON
        saved = self._store(reason)
        if saved is not None:
            self._tell(saved)
            self.draft, self.unwritten = begin(), True
            self._write(reason)
        return False

    def _store(self, reason: str, *, overwrite: bool = False) -> Saved | None:
        """None when nothing was saved; the draft is still as it was then, unless the person dropped it."""
        try:
            return save(self.draft, author=self.author, reason=reason, overwrite=overwrite)
        except ChangedMeanwhile as meanwhile:
            return self._resolve(meanwhile, reason)
        except ImportRefused as refused:
            for problem in refused.problems:
                self.console.say(str(problem))
            self.console.say(
                f"{len(refused.problems)} problem(s); nothing was saved. Your draft is still here."
            )
        except DatabaseError as error:
            self.console.say(
                f"The database did not take it ({type(error).__name__}); nothing was saved. Your draft is still "
                "here: save again once the database answers."
            )
        return None

    def _resolve(self, meanwhile: ChangedMeanwhile, reason: str) -> Saved | None:
        self.console.say(f"The configuration was changed since you began, by {meanwhile.who}:")
        for line in meanwhile.lines or ["(keys or other things that no file shows)"]:
            self.console.say(line, indent="  ")
        options = ["reload: drop my changes and begin from what is there now", "overwrite: mine replaces it"]
        chosen = self.console.pick("What now", [*options, "go back, keep my draft"])
        if chosen == 0:
            self.draft = begin()
            self.console.say("Reloaded.")
        if chosen == 1:
            return self._store(reason, overwrite=True)
        return None

    def _tell(self, saved: Saved) -> None:
        for warning in saved.warnings:
            self.console.say(f"warning: {warning}")
        self.console.say("Saved in the database. Running gateways follow within a second.")
        for issued in saved.issued:
            self.console.say(f"Token {issued.token_id} of {issued.tool_id}, shown only now:")
            self.console.say(issued.text)

    def _write(self, reason: str) -> None:
        for name in FILES:
            path = settings.CONFIG_DIR / name
            try:
                written = write_file(name, self.author, reason)
            except (SaveError, OSError) as error:
                self.console.say(f"{settings.CONFIG_DIR}: {error}.")
                self.console.say(
                    "The database has your changes, the file does not. A backup that was made is still there; leave "
                    f"it. See to the rights and the free space of {settings.CONFIG_DIR}, then save again."
                )
                return
            self.console.say(f"{path}: {'says the same already' if written.unchanged else 'written'}")
            for old in written.removed:
                self.console.say(f"removed old backup {old.name}", indent="  ")
        self.unwritten = False
