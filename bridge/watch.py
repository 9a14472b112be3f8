"""Watch: when these operations touch these columns of this table, call this task."""

from pathlib import Path
from typing import Any, Literal

import msgspec

from bridge.errors import ConfigError

Operation = Literal["insert", "update", "delete", "truncate"]

# What lives in the watch's `options` in the database.
_OPTIONS = (
    "call", "queue", "priority", "countdown", "expires", "headers", "coalesce", "source", "always", "may_skip",
    "named_only", "notify", "on_error",
)  # fmt: skip


class Watch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule. The fields are the keys of a `[[watch]]` table in `bridge.toml`."""

    name: str
    table: str
    """As SQL writes it: `product`, `shop.product`, `"Odd Name"`."""
    task: str
    """Full name of the Celery task."""
    on: tuple[Operation, ...] = ("insert", "update", "delete")
    columns: tuple[str, ...] | None = None
    """An update counts only when one of these columns changed its value."""
    when: str | None = None
    """SQL expression over `old` and `new`."""
    key: tuple[str, ...] | None = None
    """Columns that identify the row; by default the primary key."""
    data: tuple[str, ...] | None = None
    """Columns whose old and new values the event carries."""
    stream: str = "default"
    call: Literal["key", "event"] = "key"
    """key: the key's values are the positional arguments; event: one dict is."""
    queue: str | None = None
    priority: int | None = None
    countdown: float | None = None
    """Seconds."""
    expires: float | None = None
    """Seconds after publishing."""
    headers: dict[str, Any] | None = None
    coalesce: bool | None = None
    """Many events of one key, read at once, become one task."""
    always: bool | None = None
    """Capture also where ordinary triggers are silent: session_replication_role = replica, logical replication."""
    may_skip: bool | None = None
    """A transaction may say `set local bridge.capture = off`."""
    named_only: bool | None = None
    """Only updates whose SET names one of `columns` (others cost nothing); BEFORE triggers' changes are not seen."""
    notify: bool | None = None
    """False: never NOTIFY, which PREPARE TRANSACTION refuses; events wait for the poll floor."""
    on_error: Literal["fail", "warn"] | None = None
    """When a change can't be recorded: fail (the default) with it, or let it go on with a warning."""
    source: str | None = None
    """Who declares the watch; pruning removes only watches of the same source."""

    def definition(self) -> dict[str, Any]:
        """One object of the array that `bridge.plan` and `bridge.apply` take."""
        values = msgspec.to_builtins(self)
        options = {name: values.pop(name) for name in _OPTIONS if name in values}
        names = {"table": "relation", "on": "operations", "when": "condition"}
        return {names.get(name, name): value for name, value in values.items()} | {"options": options}


class _File(msgspec.Struct, forbid_unknown_fields=True):
    watch: list[Watch] = []


def read_toml(path: Path) -> list[Watch]:
    """The watches of a `bridge.toml`; ConfigError names the file, the place and the fault."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_File).watch
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
