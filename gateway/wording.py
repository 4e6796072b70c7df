"""msgspec's complaints in the words of whoever wrote the JSON: no types of ours, no pattern, no value. Pure."""

import re

_BOUND = re.compile(r"Expected `(?P<kind>\w+)`(?: of length)? (?P<sign>[<>]=) (?P<number>-?\d+)(?:\.0)?")
_KIND = re.compile(r"Expected `(?P<wanted>[a-z |]+)`(?:, got `(?P<got>[a-z]+)`)?")
_FIELD = re.compile(r"Object (?P<what>missing required|contains unknown) field (?P<name>`.*`)", re.DOTALL)
_UNITS = {"str": ("character", "characters"), "array": ("entry", "entries")}
_KINDS = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "array": "an array",
    "object": "an object",
}
_GOT = _KINDS | {"float": "a decimal number", "bool": "true or false"}


def sentence(message: str) -> str:
    """Without a stop at its end; as it is when it is nothing of msgspec's."""
    if bound := _BOUND.fullmatch(message):
        return _bound(bound)
    if kind := _KIND.fullmatch(message):
        return _kind(kind)
    if field := _FIELD.fullmatch(message):
        return (
            f"{field['name']} is missing"
            if "missing" in field["what"]
            else f"{field['name']} is no field here"
        )
    if message.startswith("Expected `str` matching regex"):
        return "No tabs, line ends or other control characters"
    if message.startswith(("Invalid enum value", "Invalid value")):
        return "This is none of the values that are allowed here"
    return message.removesuffix(".")


def _bound(bound: re.Match[str]) -> str:
    number = int(bound["number"])
    one, many = _UNITS.get(bound["kind"], ("", ""))
    said = f"At {'most' if bound['sign'] == '<=' else 'least'} {number:,} {one if number == 1 else many}"
    return said.strip()


def _kind(kind: re.Match[str]) -> str:
    names = kind["wanted"].replace("bool", "true | false").split(" | ")
    *others, last = [_KINDS.get(name, name) for name in names]
    wanted = f"{', '.join(others)} or {last}" if others else last
    but = f", not {_GOT.get(kind['got'], kind['got'])}" if kind["got"] else ""
    return f"{wanted[0].upper()}{wanted[1:]} is expected{but}"
