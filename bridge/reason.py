"""Reason: why something can't be published, as a sentence that a person reads and the database can keep."""

import struct

import msgspec

from bridge.secret import hidden

_LONGEST = 1000


def reason(error: BaseException) -> str:
    """What was wrong, for people who don't know Python; with the error's own words where they say more."""
    match error:
        case RecursionError():
            said = "its values are nested too deeply"
        case struct.error():
            said = f"a name in it is too long, or a number too large, for the broker's protocol ({error})"
        case OverflowError():
            said = f"a number in it is too large ({error})"
        case UnicodeError():
            said = f"a text in it is not valid ({error})"
        case KeyError():
            said = f"it asks for {error}, which there is not (KeyError)"
        case msgspec.MsgspecError():
            said = f"a value in it can't be read ({error})"
        case _:
            text = str(error).strip()
            said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return said


def kept(text: str) -> str:
    """The sentence as PostgreSQL, every log and every terminal take it: one line of limited length, without NUL, half a
    character, or what moves the cursor."""
    words = hidden(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0").split()
    line = shown(" ".join(words))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def shown(text: str) -> str:
    """A text that others have written, as a terminal takes it: nothing in it moves the cursor."""
    return "".join([one if one.isprintable() else ascii(one)[1:-1] for one in text])
