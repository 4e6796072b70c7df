"""What the record keeps by a client's name: legal holds and retention rules. Whoever knows the record says how to ask."""

from collections.abc import Callable, Collection, Mapping, Sequence

Holds = Callable[[Collection[str]], Mapping[str, Sequence[str]]]
Rules = Callable[[str], Sequence[str]]


def _no_holds(tool_ids: Collection[str]) -> Mapping[str, Sequence[str]]:
    return {}


def _no_rules(tool_id: str) -> Sequence[str]:
    return ()


_ask_for_holds: Holds = _no_holds
_ask_for_rules: Rules = _no_rules


def kept_by_name_from(holds: Holds, rules: Rules) -> None:
    """Called once at start."""
    global _ask_for_holds, _ask_for_rules
    _ask_for_holds, _ask_for_rules = holds, rules


def holds_on(tool_ids: Collection[str]) -> Mapping[str, Sequence[str]]:
    """Of the clients that legal holds name which are not released: the reasons of these."""
    return _ask_for_holds(tool_ids)


def no_rename(tool_id: str) -> str:
    """Why a client may not get another name, in sentences; "" when it may."""
    held = _quoted(holds_on([tool_id]).get(tool_id, ()))
    return held and (
        f"“{tool_id}” keeps its name while a legal hold goes by it: {held}. Under another name, what it calls from "
        "then on would not be held. Who set the hold can release it."
    )


def if_renamed(before: str, after: str) -> str:
    """What goes by the old name still, in sentences; "" for nothing."""
    rules = "; ".join(_ask_for_rules(before))
    return rules and (
        f"Retention rules go by a client's name, and these say “{before}”: {rules}. Make them anew for “{after}”. "
        f"What “{before}” called stays on record under that name."
    )


def if_gone(tool_ids: Collection[str]) -> list[str]:
    """What it means for legal holds when no client has these names any more; a sentence for each that is named."""
    return [
        f"A legal hold names the client {tool_id}, which goes: {_quoted(reasons)}. What it holds stays on record under "
        "this name; it does not hold what a client of another name calls."
        for tool_id, reasons in holds_on(tool_ids).items()
    ]


def _quoted(reasons: Sequence[str]) -> str:
    return ", ".join(f"“{reason}”" for reason in reasons)
