"""Reason: why something can't be published, as a sentence for people that the database can store."""

import struct

import msgspec

from bridge.secret import hidden

_LONGEST = 1000


def reason(error: BaseException) -> str:
    """Returns what was wrong, for people who don't know Python. It quotes the error where that says more."""
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
            said = f"it needs {error}, which does not exist (KeyError)"
        case msgspec.MsgspecError():
            said = f"a value in it can't be read ({error})"
        case _:
            text = str(error).strip()
            said = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return said


def kept(text: str) -> str:
    """Returns the sentence in a form that PostgreSQL, logs and terminals accept: one line of limited length, without
    NUL, half characters, or characters that move the cursor."""
    words = hidden(text).encode("utf-8", "backslashreplace").decode().replace("\0", "\\0").split()
    line = shown(" ".join(words))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def shown(text: str) -> str:
    """Returns a text of unknown origin in a form that is safe in a terminal: nothing in it moves the cursor."""
    return "".join([one if one.isprintable() else ascii(one)[1:-1] for one in text])
