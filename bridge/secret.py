"""Secret: passwords in addresses, which no error, log, metric or status may show.

Code that gets an address, valid or not, notes it here. Every text that leaves the process goes through `hidden`.
"""

import json
import re
from urllib.parse import quote, quote_plus, unquote, unquote_plus

# A password in an address that was not noted: user:password@ after a scheme.
_IN_A_URL = re.compile(r"(?<=://)([^\s/@:]*):[^\s@]+@")
_PARAMETER = re.compile(
    # The name may follow "_", as in ssl_keyfile_password.
    r"(?i)(?<![^\W_])(password|passwd|pwd|secret|token|sslpassword)"
    r"(['\"]?\s*[=:]\s*)('[^']*'|\"[^\"]*\"|[^\s&;,)}]+)"
)
_SHOWN = "***"
# Characters. A shorter password would also match parts of ordinary words.
_SHORTEST = 4

_known: set[str] = set()


def note(address: str | None) -> None:
    """Remembers every part of the address that may belong to a password, however a parser divides the address."""
    for one in re.split(r";(?=[\w+]+://)", address or ""):
        _, scheme, rest = one.rpartition("://") if one.count("://") == 1 else one.partition("://")
        if scheme and "@" in rest:
            # An unencoded password may contain "@", "/", ":" and "?".
            _, colon, password = rest.rpartition("@")[0].partition(":")
            if colon:
                _add(password)
        for _, _, value in _PARAMETER.findall(one):
            _add(value.strip("'\""))


def note_value(password: object) -> None:
    """Remembers a password that is given by itself, not in an address."""
    if isinstance(password, str | bytes):
        _add(password if isinstance(password, str) else password.decode(errors="replace"))


def hidden(text: str) -> str:
    """Returns the text without known passwords, and without parts that look like passwords."""
    for one in sorted(_known, key=len, reverse=True):
        text = text.replace(one, _SHOWN)
    return _PARAMETER.sub(rf"\1\2{_SHOWN}", _IN_A_URL.sub(rf"\1:{_SHOWN}@", text))


def _add(password: str) -> None:
    for whole in (password, unquote(password), unquote_plus(password)):
        pieces = (whole, *re.split(r"[@/:?#]", whole))
        _known.update(form for piece in pieces if len(piece) >= _SHORTEST for form in _forms(piece))


def _forms(password: str) -> set[str]:
    """Returns the forms in which libraries quote a password: as in a URL, a Python text, Python bytes, and JSON."""
    octets = password.encode(errors="backslashreplace")
    shown = (repr(password)[1:-1], ascii(password)[1:-1], repr(octets)[2:-1], json.dumps(password)[1:-1])
    encoded = {quote(octets, safe=""), quote(octets), quote_plus(octets)}
    return {password, *shown, *encoded, *(re.sub("%..", lambda one: one[0].lower(), text) for text in encoded)}
