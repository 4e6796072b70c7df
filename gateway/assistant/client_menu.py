"""Clients and their tokens in the menu. Each returns the draft as it is then."""

from collections.abc import Sequence
from datetime import UTC, datetime

from gateway.assistant import draft as drafts
from gateway.assistant.checking import below, client_problems
from gateway.assistant.draft import Draft, Json
from gateway.assistant.fields import ALLOWED_METHODS, CLIENT_FIELDS, EXPIRY, TOOL_ID, Field
from gateway.assistant.forms import EntryForm
from gateway.assistant.prompts import Back, Console
from gateway.assistant.typed import show_period


class ClientForm(EntryForm):
    def fields(self) -> Sequence[Field]:
        return CLIENT_FIELDS

    def problems(self, entry: Json) -> list[tuple[str, str]]:
        return client_problems(entry)


def show_all(console: Console, draft: Draft) -> Draft:
    if not drafts.clients(draft):
        console.say("There are no clients yet. Add one for each tool that is to call the gateway.")
    for n, (tool_id, entry) in enumerate(drafts.clients(draft).items(), 1):
        off = "" if entry.get("enabled", True) else "  (disabled)"
        console.say(f"{n:>3}  {tool_id}{off}")
        console.say(f"may call {', '.join(entry['allowedMethods']) or 'nothing'}", indent="     ")
        for token in entry.get("tokens", ()):
            console.say(f"token {token['id']}, {_state(token)}", indent="     ")
        for request in draft.tokens:
            if request.tool_id == tool_id:
                console.say(
                    f"a new token, issued when you save{_lifetime(request.lifetime_s)}", indent="     "
                )
    return draft


def _state(token: Json) -> str:
    if revoked := token.get("revokedAt"):
        return f"revoked on {revoked[:10]}"
    expires = token.get("expiresAt")
    if expires is None:
        return "does not expire"
    over = datetime.fromisoformat(expires) <= datetime.now(UTC)
    return f"expired on {expires[:10]}" if over else f"expires on {expires[:10]}"


def _lifetime(seconds: int | None) -> str:
    return "" if seconds is None else f", for {show_period(seconds)}"


def add(console: Console, draft: Draft) -> Draft:
    console.say("A new client. ? explains a question, < goes back without adding.")

    def wrong_id(value: str) -> list[str]:
        if value in drafts.clients(draft):
            return ["A client of this name is there already; change that one."]
        return below(client_problems({"toolId": value}), "/toolId")

    tool_id = console.field(TOOL_ID, None, wrong_id)
    form = ClientForm(console, {"toolId": tool_id, "allowedMethods": list(ALLOWED_METHODS.choices)})
    form.ask(ALLOWED_METHODS)
    form.finish(f"New client {tool_id}")
    draft = drafts.put_client(draft, form.entry)
    console.say(f"{tool_id} is in the draft. Save to make it take effect.")
    if console.confirm("Issue a token for it when you save?", default=True):
        draft = _request(console, draft, tool_id)
    return draft


def change(console: Console, draft: Draft) -> Draft:
    tool_id = _which(console, draft, "Change which client")
    form = ClientForm(console, drafts.clients(draft)[tool_id])
    form.finish(f"Client {tool_id}")
    console.say(f"{tool_id} is in the draft. Save to make it take effect.")
    return drafts.put_client(draft, form.entry)


def delete(console: Console, draft: Draft) -> Draft:
    tool_id = _which(console, draft, "Delete which client")
    if not console.confirm(f"Delete {tool_id} and its tokens? The record of its calls stays."):
        raise Back
    console.say(f"{tool_id} is gone from the draft. Save to make it take effect.")
    return drafts.remove_client(draft, tool_id)


def issue_token(console: Console, draft: Draft) -> Draft:
    return _request(console, draft, _which(console, draft, "A token for which client"))


def _request(console: Console, draft: Draft, tool_id: str) -> Draft:
    lifetime_s = console.field(EXPIRY, None, lambda value: [])
    console.say("The token is made when you save, and shown once then.")
    return drafts.request_token(draft, tool_id, lifetime_s)


def revoke_token(console: Console, draft: Draft) -> Draft:
    """One that is in use, or one that was asked for and is not issued yet."""
    tool_id = _which(console, draft, "A token of which client")
    tokens = [t for t in drafts.clients(draft)[tool_id].get("tokens", ()) if not t.get("revokedAt")]
    requests = [request for request in draft.tokens if request.tool_id == tool_id]
    if not tokens and not requests:
        console.say(f"{tool_id} has no token that could be revoked.")
        raise Back
    options = [f"{token['id']}, {_state(token)}" for token in tokens]
    options += [f"the one not issued yet{_lifetime(request.lifetime_s)}" for request in requests]
    chosen = console.pick("Revoke which", options)
    if chosen >= len(tokens):
        return drafts.withdraw_token(draft, requests[chosen - len(tokens)])
    console.say("Calls with this token are refused within a second of saving.")
    return drafts.revoke_token(draft, tool_id, tokens[chosen]["id"], datetime.now(UTC))


def _which(console: Console, draft: Draft, prompt: str) -> str:
    tool_ids = list(drafts.clients(draft))
    if not tool_ids:
        console.say("There are no clients yet.")
        raise Back
    return tool_ids[console.pick(prompt, tool_ids)]
