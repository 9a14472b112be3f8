"""The statements of a block that write rows: they show why a watch recorded nothing."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_NAME = r'(?:"[^"]+"|\w+)'
_WRITES = re.compile(
    rf"\s*(insert\s+into|update(?:\s+only)?|delete\s+from(?:\s+only)?|truncate(?:\s+table)?)\s+(?:{_NAME}\s*\.\s*)?({_NAME})",
    re.IGNORECASE,
)
_SET = re.compile(r"\bset\b(.*?)(?:\bwhere\b|$)", re.IGNORECASE | re.DOTALL)
_COLUMN = re.compile(rf"(?:^|,)\s*({_NAME})\s*=", re.DOTALL)


@dataclass(frozen=True)
class Write:
    """One statement that writes a table."""

    op: str
    table: str
    columns: tuple[str, ...]
    """The columns in the SET of an update. Only those that are easy to find, so this is for messages."""


class Statements:
    """Reads the statements of one connection; it has the signature that Django's `execute_wrapper` needs."""

    def __init__(self) -> None:
        self.writes: list[Write] = []
        self._texts: list[str] = []

    def __call__(self, execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
        text = sql if isinstance(sql, str) else str(sql)
        self._texts.append(text)
        if found := _WRITES.match(text):
            op, table = found[1].split()[0].lower(), found[2].strip('"')
            columns = _SET.search(text, found.end()) if op == "update" else None
            named = _COLUMN.findall(columns[1]) if columns else []
            self.writes.append(Write(op, table, tuple(name.strip('"') for name in named)))
        return execute(sql, params, many, context)

    def name(self, table: str) -> bool:
        """Whether any statement has the name of this table in it."""
        return any(re.search(rf"\b{re.escape(table)}\b", text) for text in self._texts)
