"""Duration: a length of time as people write it (24h, 90s, 1h30m), in seconds."""

import re
from collections.abc import Callable

import click

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")
_WHOLE = re.compile(rf"(?:{_PART.pattern})+")


def duration(least: str = "0", most: str | None = None) -> Callable[[str], float]:
    """Returns the type of an option. Both bounds are included. A number without a unit means seconds."""

    def convert(text: str) -> float:
        seconds = parsed(text)
        if seconds is None:
            raise click.BadParameter(f"{text!r} is not a duration. Use 90s, 30m, 1h30m, or a number of seconds")
        if seconds < (parsed(least) or 0):
            raise click.BadParameter(f"{text} is too short: give {least} or more")
        if most is not None and seconds > (parsed(most) or 0):
            raise click.BadParameter(f"{text} is too long: give {most} or less")
        return seconds

    return convert


def parsed(text: str) -> float | None:
    """Returns the seconds, or None if the text is not a duration."""
    text = text.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    if not _WHOLE.fullmatch(text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
