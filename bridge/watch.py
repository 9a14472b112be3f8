"""Watch: when these operations touch these columns of this table, call this task."""

import re
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import msgspec

from bridge.call_options import Options
from bridge.errors import ConfigError

Operation = Literal["insert", "update", "delete", "truncate"]

# The place in a complaint of msgspec: "Expected `str`, got `int` - at `$.watch[1].on[0]`".
_PLACE = re.compile(r"(?:\.watch\[(\d+)\])?\.?(.*)`", re.DOTALL)
_UNKNOWN_KEY = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_MISSING_KEY = re.compile(r"Object missing required field `(.*)`", re.DOTALL)


class Watch(Options, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule. The fields are the keys of a `[[watch]]` table in `bridge.toml`."""

    name: str
    table: str
    """Name of the table as in SQL: `product`, `shop.product`, `"Odd Name"`."""
    task: str
    """Full name of the Celery task."""
    on: tuple[Operation, ...] = ("insert", "update", "delete")
    columns: tuple[str, ...] | None = None
    """Columns to watch: an update counts only when one of them changed its value."""
    when: str | None = None
    """SQL expression over `old` and `new`."""
    key: tuple[str, ...] | None = None
    """Columns that identify the row. The default is the primary key."""
    data: tuple[str, ...] | None = None
    """Columns whose old and new values the event carries."""
    stream: str = "default"

    def definition(self) -> dict[str, Any]:
        """Returns one object of the array that `bridge.plan` and `bridge.apply` take."""
        values = msgspec.to_builtins(self)
        options = {name: values.pop(name) for name in Options.__struct_fields__ if name in values}
        names = {"table": "relation", "on": "operations", "when": "condition"}
        return {names.get(name, name): value for name, value in values.items()} | {"options": options}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    watch: list[Watch] = []


def read_toml(path: Path) -> list[Watch]:
    """Reads the watches of a `bridge.toml`. A ConfigError names the file, the watch, and what is wrong."""
    text = b""
    try:
        text = path.read_bytes()
        return msgspec.toml.decode(text, type=_File).watch
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}{_complaint(text, str(error))}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _complaint(text: bytes, said: str) -> str:
    """Returns the place in the file and what is wrong there: `, watch "r": unknown key "colums"; did you mean ...`."""
    before, separator, path = said.rpartition(" - at `$")
    match = _PLACE.fullmatch(path) if separator else None
    wrong, number, key = (before, *match.groups()) if match else (said, None, None)
    place = "" if number is None else f", watch {_watch_name(text, int(number))}"
    if unknown := _UNKNOWN_KEY.fullmatch(wrong):
        known = (_File if number is None else Watch).__struct_fields__
        close = get_close_matches(unknown[1], known, 1)
        wrong = f'unknown key "{unknown[1]}"' + (f'; did you mean "{close[0]}"?' if close else "")
    elif missing := _MISSING_KEY.fullmatch(wrong):
        wrong = f'the key "{missing[1]}" is missing'
    elif key:
        wrong = f'key "{key}": {wrong}'
    return f"{place}: {wrong}"


def _watch_name(text: bytes, index: int) -> str:
    """Returns the name of a watch in quotes, or its place in the file (1 is the first) if it has no name."""
    watches = msgspec.toml.decode(text).get("watch", [])
    name = watches[index].get("name") if index < len(watches) and isinstance(watches[index], dict) else None
    return f'"{name}"' if isinstance(name, str) else f"number {index + 1}"
