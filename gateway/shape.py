"""A JSON value against the struct that it is to become: every member that does not fit, in words for operators. Pure.

A problem is a pair: a JSON pointer, and a sentence. What fits is told field by field, so that the rest of an entry
can be judged although a part of it is wrong.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from difflib import get_close_matches
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from providers.document import escape

Problem = tuple[str, str]
SHOWN = 50


class Fitted(NamedTuple):
    """`known`: the fields that fit by their names in the struct, those that are absent with their defaults."""

    known: dict[str, Any]
    problems: list[Problem]


def fit(kind: type[msgspec.Struct], value: Any, pointer: str, passed_over: Sequence[str] = ()) -> Fitted:
    """`passed_over`: pointers of what was refused already; neither that nor what holds it is judged again."""
    walk = _Walk(passed_over)
    if not walk.holds(pointer):
        try:
            return Fitted(msgspec.structs.asdict(msgspec.convert(value, kind)), [])
        except msgspec.ValidationError:
            pass  # then one by one: it tells of the first only
    problems = list(walk.of(_type_of(kind), value, pointer))
    known = {}
    for field in msgspec.structs.fields(kind) if isinstance(value, dict) else ():
        place = f"{pointer}/{escape(field.encode_name)}"
        if field.encode_name not in value:
            if not field.required:
                known[field.name] = _default(field)
        elif not walk.holds(place) and not any(_is_within(where, place) for where, _ in problems):
            try:
                known[field.name] = msgspec.convert(value[field.encode_name], field.type)
            except msgspec.ValidationError:
                problems.append((place, "Has a value that does not fit"))
    return Fitted(known, problems)


@cache
def _type_of(kind: type[msgspec.Struct]) -> inspect.Type:
    return inspect.type_info(kind)


def is_whole(kind: type[msgspec.Struct], known: dict[str, Any]) -> bool:
    """Whether nothing of it was passed over."""
    return len(known) == len(kind.__struct_fields__)


def _default(field: Any) -> Any:
    return field.default if field.default is not msgspec.NODEFAULT else field.default_factory()


def _is_within(pointer: str, above: str) -> bool:
    return pointer == above or pointer.startswith(f"{above}/")


class _Walk:
    def __init__(self, passed_over: Sequence[str]) -> None:
        self._passed_over = passed_over

    def holds(self, pointer: str) -> bool:
        return any(_is_within(where, pointer) for where in self._passed_over)

    def of(self, kind: inspect.Type, value: Any, pointer: str) -> Iterator[Problem]:
        if pointer in self._passed_over:
            return
        kind = _meant(kind, value)
        members = self._members(kind, value, pointer)
        if members is not None:
            yield from members
        elif not self.holds(pointer) and (said := _scalar(kind, value)):
            yield pointer, said

    def _members(self, kind: inspect.Type, value: Any, pointer: str) -> Iterator[Problem] | None:
        """None for what has no members, or is not of the kind that has."""
        if isinstance(kind, inspect.StructType) and isinstance(value, dict):
            return self._fields(kind, value, pointer)
        if isinstance(kind, inspect.DictType) and isinstance(value, dict):
            return self._items(kind, value, pointer)
        if isinstance(kind, inspect.ListType | inspect.VarTupleType) and isinstance(value, list):
            return self._entries(kind, value, pointer)
        return None

    def _fields(self, kind: inspect.StructType, value: dict[str, Any], pointer: str) -> Iterator[Problem]:
        fields = {field.encode_name: field for field in kind.fields}
        for name, field in fields.items():
            if field.required and name not in value:
                yield pointer, f"`{name}` is missing"
        for name, item in value.items():
            place = f"{pointer}/{escape(name)}"
            if name in fields:
                yield from self.of(fields[name].type, item, place)
            else:
                yield place, f"Unknown field{_near(name, fields, 'did you mean `{}`?')}"

    def _items(self, kind: inspect.DictType, value: dict[str, Any], pointer: str) -> Iterator[Problem]:
        for name, item in value.items():
            place = f"{pointer}/{escape(name)}"
            if place not in self._passed_over and (said := _scalar(kind.key_type, name)):
                yield place, f"The name: {said}" if isinstance(kind.key_type, inspect.StrType) else said
            yield from self.of(kind.value_type, item, place)

    def _entries(self, kind: Any, value: list[Any], pointer: str) -> Iterator[Problem]:
        if said := _bounds(len(value), kind.min_length, kind.max_length, ("entry", "entries")):
            yield pointer, said
        for n, item in enumerate(value):
            yield from self.of(kind.item_type, item, f"{pointer}/{n}")


def _meant(kind: inspect.Type, value: Any) -> inspect.Type:
    """Without the null of what may be left out, unless that is what stands there."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    nothing = [one for one in kind.types if isinstance(one, inspect.NoneType)]
    if value is None and nothing:
        return nothing[0]
    return next(one for one in kind.types if not isinstance(one, inspect.NoneType))


def _scalar(kind: inspect.Type, value: Any) -> str:
    """What is wrong with a value that has no members, or has other members than it should; "" for nothing."""
    if isinstance(kind, inspect.LiteralType) and isinstance(value, str):
        return _choice(kind, value)
    if isinstance(kind, inspect.StrType) and isinstance(value, str):
        return _text(kind, value)
    if isinstance(kind, inspect.IntType | inspect.FloatType) and _is_number(kind, value):
        return _bounds(value, kind.ge, kind.le, ("", ""))
    if isinstance(kind, inspect.DateTimeType) and isinstance(value, str):
        return "" if _is_moment(value) else f"Has to be {_described(kind)}"
    fits: dict[type[inspect.Type], Callable[[Any], bool]] = {
        inspect.AnyType: lambda _: True,
        inspect.NoneType: lambda one: one is None,
        inspect.BoolType: lambda one: isinstance(one, bool),
    }
    if fits.get(type(kind), lambda _: False)(value):
        return ""
    return "An object is needed" if isinstance(kind, inspect.StructType) else f"Has to be {_described(kind)}"


def _is_number(kind: inspect.IntType | inspect.FloatType, value: Any) -> bool:
    takes = (int,) if isinstance(kind, inspect.IntType) else (int, float)
    return isinstance(value, takes) and not isinstance(value, bool)


def _choice(kind: inspect.LiteralType, value: str) -> str:
    known = [str(one) for one in kind.values]
    shown = value if len(value) <= SHOWN else f"{value[:SHOWN]}…"
    return "" if value in known else f"Unknown value {shown!r}; known are {', '.join(known)}"


def _text(kind: inspect.StrType, value: str) -> str:
    if kind.min_length and not value:
        return "Must not be empty"
    if said := _bounds(len(value), kind.min_length, kind.max_length, ("character", "characters")):
        return said
    if kind.pattern is None or re.search(kind.pattern, value):
        return ""
    if "A-Z" in kind.pattern:
        return "Only letters, digits, dots, dashes and underscores"
    return "No tabs, line ends or other control characters"


def _bounds(number: float, least: float | None, most: float | None, units: tuple[str, str]) -> str:
    for bound, word, is_wrong in (
        (least, "least", least is not None and number < least),
        (most, "most", most is not None and number > most),
    ):
        if is_wrong and bound is not None:
            return f"At {word} {int(bound):,} {units[bound != 1]}".strip()
    return ""


def _is_moment(value: str) -> bool:
    try:
        msgspec.convert(value, datetime)
    except msgspec.ValidationError:
        return False
    return True


def _near(name: str, known: Any, words: str) -> str:
    near = get_close_matches(name.lower().replace("_", ""), [one.lower() for one in known], 1, cutoff=0.8)
    meant = [one for one in known if near and one.lower() == near[0]]
    return f"; {words.format(meant[0])}" if meant else ""


_WORDS: dict[type[inspect.Type], tuple[str, str]] = {
    inspect.StrType: ("a text", "texts"),
    inspect.IntType: ("a whole number", "whole numbers"),
    inspect.FloatType: ("a number", "numbers"),
    inspect.BoolType: ("true or false", "true or false"),
    inspect.StructType: ("an object", "objects"),
    inspect.DictType: ("an object", "objects"),
    inspect.DateTimeType: ("a time such as 2027-01-31T12:00:00Z", "times"),
}


def _described(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        item = kind.item_type
        of = "texts" if isinstance(item, inspect.LiteralType) else _WORDS.get(type(item), ("", "values"))[1]
        return f"a list of {of}"
    if isinstance(kind, inspect.LiteralType):
        return f"one of {', '.join(map(str, kind.values))}"
    return _WORDS.get(type(kind), ("something else", ""))[0]
