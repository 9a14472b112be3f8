"""Logs: lines for people (console) or for programs (json), on standard error."""

import logging
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from bridge.secret import hidden

# Attributes that every record has. Any other attribute came with `extra` and is a field.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def set_up(style: Literal["console", "json"], level: str) -> None:
    """Sends the bridge's records from `level` up, and warnings of its libraries, to standard error.

    Call it again after the import of the user's app: a Django project's LOGGING replaces all handlers, and by default
    disables all existing loggers.
    """
    output = logging.StreamHandler()
    output.setFormatter(_Json() if style == "json" else _Console())
    logging.basicConfig(level=logging.WARNING, handlers=[output], force=True)
    for name in [name for name in logging.root.manager.loggerDict if name.partition(".")[0] == "bridge"]:
        logger = logging.getLogger(name)
        logger.disabled, logger.propagate = False, True
        logger.setLevel(logging.NOTSET)
        logger.handlers.clear()
    logging.getLogger("bridge").setLevel(level.upper())


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: _shown(value) for name, value in vars(record).items() if name not in _STANDARD}


def _shown(value: Any) -> Any:
    return hidden(value) if isinstance(value, str) else value


class _Console(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(sep=" ", timespec="milliseconds")
        fields = "".join(f" {name}={value!r}" for name, value in _fields(record).items())
        trace = f"\n{hidden(self.formatException(record.exc_info))}" if record.exc_info else ""
        return f"{at} {record.levelname:<7} {hidden(record.getMessage())}{fields}{trace}"


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": hidden(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            line["exception"] = hidden(self.formatException(record.exc_info))
        return msgspec.json.encode(line, enc_hook=str).decode()
