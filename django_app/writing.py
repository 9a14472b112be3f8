"""Writing: whether a statement may write rows, judged by its text.

A wrong yes costs one short query; a wrong no costs the context of the statement's events. So what is not known counts
as writing. A SELECT writes only through functions, and those that everybody uses are listed here.
"""

import re
from enum import Enum, auto
from functools import lru_cache
from importlib.resources import files

_LONG = 10_000

# Literals, quoted names and comments. They are blanked out, except that quoted names stay names.
_NOISE = re.compile(
    r"\b[eE]'(?:[^'\\]|''|\\.)*'|'(?:[^']|'')*'|\$(\w*)\$.*?\$\1\$|--[^\n]*|/\*.*?\*/|(\"(?:[^\"]|\"\")*\")",
    re.DOTALL,
)
_QUERIES = frozenset({"select", "values", "table", "with", "declare", "explain"})
_CHANGES = re.compile(r"\b(insert|update|delete|merge)\b", re.IGNORECASE)
_CALLS = re.compile(r"([\w\"$.]+)\s*\(")
_FOR_UPDATE = re.compile(r"\bfor\s+(no\s+key\s+)?update\b", re.IGNORECASE)

# Words of SQL before a bracket, and PostgreSQL's own functions in ordinary queries. None of them runs a trigger.
_HARMLESS = frozenset(files("django_app").joinpath("harmless.txt").read_text(encoding="utf-8").split())
_HARMLESS_PREFIX = ("pg_", "st_", "postgis_")


class Kind(Enum):
    READS = auto()
    WRITES = auto()
    ROUTINE = auto()
    """It may write, but a transaction around it could break it: a procedure may commit, several statements may too."""
    CONTROL = auto()
    """It may begin or end a transaction, or return to a savepoint."""


_FIRST = {
    **dict.fromkeys(("insert", "update", "delete", "merge", "truncate", "copy", "execute"), Kind.WRITES),
    **dict.fromkeys(("call", "do"), Kind.ROUTINE),
    **dict.fromkeys(("rollback", "abort", "commit", "end", "begin", "start", "prepare"), Kind.CONTROL),
}


def kind_of(statement: str) -> Kind:
    """Returns what this statement may do."""
    return _judge(statement) if len(statement) > _LONG else _remembered(statement)


def _judge(statement: str) -> Kind:
    text = _NOISE.sub(lambda match: match[2] or " ", statement).strip().rstrip("; \n\t")
    if ";" in text:
        return Kind.ROUTINE
    match = re.match(r"[\s(]*(\w+)", text)
    word = match[1].lower() if match else ""
    if word in _FIRST:
        return _FIRST[word]
    if word in _QUERIES and _changes(word, text):
        return Kind.WRITES
    return Kind.READS


_remembered = lru_cache(maxsize=1000)(_judge)


def _changes(word: str, text: str) -> bool:
    """Whether a query may write: by a part of its own (only WITH and EXPLAIN can have one), or by a function."""
    if word != "select" and _CHANGES.search(_FOR_UPDATE.sub(" ", text)):
        return True
    return not all(_is_harmless(called) for called in _CALLS.findall(text))


def _is_harmless(called: str) -> bool:
    """Whether the word before a bracket writes no rows: a word of SQL, or a known function."""
    name = called.lower().replace('"', "")
    schema, dot, function = name.rpartition(".")
    if dot and schema != "pg_catalog":
        return False
    return function in _HARMLESS or function.startswith(_HARMLESS_PREFIX)
