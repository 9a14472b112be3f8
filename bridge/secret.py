"""Secret: passwords in addresses, which no error, log, metric or status may show.

Whoever is told an address notes it here, right or wrong; every text that leaves the process goes through `hidden`.
"""

import json
import re
from urllib.parse import quote, quote_plus, unquote, unquote_plus

# Whatever else knows of an address: user:password@ behind a scheme.
_IN_A_URL = re.compile(r"(?<=://)([^\s/@:]*):[^\s@]+@")
_PARAMETER = re.compile(
    # Behind "_" too: ssl_keyfile_password.
    r"(?i)(?<![^\W_])(password|passwd|pwd|secret|token|sslpassword)"
    r"(['\"]?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s&;,)}]+)"
)
_SHOWN = "***"
# What is shorter stands in other words too.
_SHORTEST = 4

_known: set[str] = set()


def note(address: str | None) -> None:
    """Remembers what may be a password in it: all of it that a parser could take for something else as well."""
    for one in re.split(r";(?=[\w+]+://)", address or ""):
        _, scheme, rest = one.rpartition("://") if one.count("://") == 1 else one.partition("://")
        if scheme and "@" in rest:
            # A password that is not encoded may hold "@", "/", ":" and "?".
            _, colon, password = rest.rpartition("@")[0].partition(":")
            if colon:
                _add(password)
        for _, _, value in _PARAMETER.findall(one):
            _add(value.strip("'\""))


def note_value(password: object) -> None:
    """Remembers a password that stands alone."""
    if isinstance(password, str | bytes):
        _add(password if isinstance(password, str) else password.decode(errors="replace"))


def hidden(text: str) -> str:
    """The text without what is known, or looks like, a password."""
    for one in sorted(_known, key=len, reverse=True):
        text = text.replace(one, _SHOWN)
    return _PARAMETER.sub(rf"\1\2{_SHOWN}", _IN_A_URL.sub(rf"\1:{_SHOWN}@", text))


def _add(password: str) -> None:
    for whole in (password, unquote(password), unquote_plus(password)):
        pieces = (whole, *re.split(r"[@/:?#]", whole))
        _known.update(form for piece in pieces if len(piece) >= _SHORTEST for form in _forms(piece))


def _forms(password: str) -> set[str]:
    """As libraries quote it in what they say: a URL's way, Python's, that of bytes, JSON's."""
    octets = password.encode(errors="backslashreplace")
    shown = (repr(password)[1:-1], ascii(password)[1:-1], repr(octets)[2:-1], json.dumps(password)[1:-1])
    encoded = {quote(octets, safe=""), quote(octets), quote_plus(octets)}
    return {password, *shown, *encoded, *(re.sub("%..", lambda one: one[0].lower(), text) for text in encoded)}
