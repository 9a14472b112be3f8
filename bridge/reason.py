"""Reason: why something can't be published, as a sentence that a person reads and the database can keep."""

import struct

import msgspec

_LONGEST = 1000


def reason(error: BaseException) -> str:
    """What was wrong, for people who don't know Python; with the error's own words where they say more."""
    match error:
        case RecursionError():
            return "its values are nested too deeply"
        case struct.error():
            return f"a name in it is too long, or a number too large, for the broker's protocol ({error})"
        case OverflowError():
            return f"a number in it is too large ({error})"
        case UnicodeError():
            return f"a text in it is not valid ({error})"
        case msgspec.MsgspecError():
            return f"a value in it can't be read ({error})"
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def kept(text: str) -> str:
    """The sentence as PostgreSQL and every log take it: one line of limited length, without NUL or half a character."""
    line = " ".join(text.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0").split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
