"""Numbers as people read them."""


def amount(number: float) -> str:
    return f"{number:,.0f}"


def compact(number: int) -> str:
    """As `amount`, but from ten million on in millions or billions, so that it fits a card."""
    if number < 10_000_000:
        return amount(number)
    return f"{number / 1e6:.3g} M" if number < 1e9 else f"{number / 1e9:.3g} G"


def duration(ms: float | None) -> str:
    """Three digits say all that an estimate knows: 840 ms, 1.24 s, 2.1 min."""
    if ms is None:
        return "–"
    if 0 < ms < 1:
        return "< 1 ms"
    if ms < 1_000:
        return f"{ms:.3g} ms"
    return f"{ms / 1_000:.3g} s" if ms < 100_000 else f"{ms / 60_000:.2g} min"


def share(part: int, whole: int) -> str:
    if not whole:
        return "–"
    percent = 100 * part / whole
    return "< 0.1 %" if 0 < percent < 0.1 else f"{percent:.3g} %"


RATES = (("minute", 1), ("hour", 60), ("day", 1_440))
"""A unit of time, and its minutes."""


def rate_unit(per_minute: float) -> tuple[str, int]:
    """In which unit of time a rate is a number that people can picture: the shortest that has one call at least."""
    return next((unit for unit in RATES if per_minute * unit[1] >= 1), RATES[-1])


def rate(calls: int, minutes: float) -> str:
    """How many a minute, an hour or a day."""
    if not calls or not minutes:
        return "–"
    unit, length = rate_unit(calls / minutes)
    many = calls / minutes * length
    number = amount(many) if many >= 100 else f"{many:.2g}"
    return f"{number} {'an' if unit == 'hour' else 'a'} {unit}"
