"""Column types: values as SQL writes them, and as an event must show them."""

import json
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st


@dataclass(frozen=True)
class Cell:
    """A value. Its text is canonical: PostgreSQL stores two cells as equal bytes exactly if their texts are equal."""

    text: str | None
    json: Any = None

    def sql(self, type_name: str) -> str:
        return f"{'null' if self.text is None else quoted(self.text)}::{type_name}"

    def as_text(self) -> "Cell":
        """Returns the cell after its column has become text."""
        return Cell(self.text, self.text)


NULL = Cell(None)


@dataclass(frozen=True)
class Kind:
    type: str
    cells: st.SearchStrategy[Cell] = field(repr=False, compare=False)
    plain: bool = False
    """Whether SQL's `=` compares like the texts, so that a key or a condition may use the type."""


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def canonical(value: Any) -> str:
    """Returns JSON in one form: sorted keys, and numbers by value, however they were written."""
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(k)}: {canonical(value[k])}" for k in sorted(value)) + "}"
        case list():
            return "[" + ", ".join(map(canonical, value)) + "]"
        case bool() | str() | None:
            return json.dumps(value, ensure_ascii=False)
        case _:
            return format(Decimal(value).normalize() + 0, "f")


def _decimal(digits: int, scale: int) -> Cell:
    text = format(Decimal(digits).scaleb(-scale), "f")
    return Cell(text, text)


def _float(value: float) -> Cell:
    if value in {float("inf"), float("-inf")} or value != value:  # noqa: PLR0124
        name = {"inf": "Infinity", "-inf": "-Infinity", "nan": "NaN"}[repr(value)]
        return Cell(name, name)
    return Cell(repr(value), Decimal(repr(value)))


def _clock(value: datetime | time) -> str:
    text = value.isoformat()
    return text.rstrip("0") if value.microsecond else text


def _document(value: Any) -> Cell:
    return Cell(json.dumps(value, sort_keys=True), value)


def _array(items: list[Any]) -> Cell:
    texts = ("NULL" if i is None else '"' + str(i).replace("\\", "\\\\").replace('"', '\\"') + '"' for i in items)
    return Cell("{" + ",".join(texts) + "}", items)


def _samples(*pairs: str | tuple[str, Any]) -> st.SearchStrategy[Cell]:
    """Draws texts. The JSON of a text is the text itself, or is given."""
    return st.sampled_from([Cell(p, p) if isinstance(p, str) else Cell(*p) for p in pairs])


_characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
_texts = st.text(_characters, max_size=12) | st.sampled_from(["", "it's", '"; --', "$body$", "%s \\", "null", "an e"])
_leaf = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | _texts
_documents = st.recursive(_leaf, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_texts, inner, max_size=2))
_moments = st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001
# Beyond 2 ** 53 Python and PostgreSQL disagree about the shortest text of some numbers.
_floats = st.floats(-(2.0**53), 2.0**53) | st.sampled_from([float("nan"), float("inf"), float("-inf")])
_infinite = _samples("infinity", "-infinity")


def _integers(bits: int) -> st.SearchStrategy[Cell]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(lambda n: Cell(str(n), n))


KEY_KINDS = [
    Kind("smallint", _integers(16), plain=True),
    Kind("integer", _integers(32), plain=True),
    Kind("bigint", _integers(64), plain=True),
    Kind("text", _texts.map(lambda t: Cell(t, t)), plain=True),
    Kind("uuid", st.uuids().map(str).map(lambda u: Cell(u, u)), plain=True),
    Kind("date", st.dates(date(1, 1, 1)).map(date.isoformat).map(lambda d: Cell(d, d)) | _infinite, plain=True),
    Kind("timestamptz", _moments.map(_clock).map(lambda m: Cell(m + "+00:00", m + "+00:00")) | _infinite, plain=True),
    Kind("bytea", st.binary(max_size=6).map(lambda b: Cell("\\x" + b.hex(), "\\x" + b.hex())), plain=True),
    Kind("kinds.mood", _samples("calm", "it's fine", "Wild"), plain=True),
    Kind("numeric(8,2)", st.integers(-(10**6), 10**6).map(lambda n: _decimal(n, 2)), plain=True),
]

VALUE_KINDS = [
    *KEY_KINDS,
    Kind("boolean", st.booleans().map(lambda b: Cell(str(b).lower(), b)), plain=True),
    Kind(
        "numeric", st.builds(_decimal, st.integers(-(10**30), 10**30), st.integers(0, 9)) | _samples("NaN", "Infinity")
    ),
    Kind("double precision", _floats.map(_float) | _samples(("1e+300", 10**300), ("5e-324", Decimal("5e-324")))),
    Kind(
        "json",
        _documents.map(_document) | _samples(("1.0", 1), ("1.00", 1), ("null", None), ('{"a": 1,  "a": 2}', {"a": 2})),
    ),
    Kind("jsonb", _documents.map(_document) | _samples(("1.0", 1), ("1.00", 1), ("null", None))),
    Kind("timestamp", _moments.map(_clock).map(lambda m: Cell(m, m))),
    Kind("time", st.times().map(_clock).map(lambda t: Cell(t, t))),
    Kind("interval", _samples("P1Y2M", ("1 day 02:00", "P1DT2H"), ("-00:00:01.5", "PT-1.5S"))),
    Kind("integer[]", st.lists(st.none() | st.integers(-9, 9), max_size=3).map(_array)),
    Kind("text[]", st.lists(st.none() | _texts, max_size=3).map(_array)),
    Kind("varchar(20)", _texts.map(lambda t: Cell(t, t))),
    Kind("character(4)", _samples("ab  ", "    ", "it's")),
    Kind("bit(3)", _samples("101", "000")),
    Kind("inet", _samples("10.0.0.1", "10.0.0.0/8", "::1")),
    Kind("point", _samples("(1,2)", "(0.1,-5)")),
    Kind("int4range", _samples("[1,5)", "empty", "(,)")),
    Kind("tsvector", _samples("'a' 'b':2", "")),
    Kind("kinds.price", st.integers(0, 10**9).map(lambda n: _decimal(n, 3))),
    Kind("kinds.pair", _samples(("(1,x)", {"n": 1, "note": "x"}), ("(,)", {"n": None, "note": None}))),
]

# Types whose text does not depend on the session, which a column may change to text. That rewrites all rows.
TO_TEXT = {"smallint", "integer", "bigint", "uuid", "boolean"}
WIDER = {"smallint": "integer", "integer": "bigint"}

# Types that the kinds above need in the database.
KINDS_SQL = """
create schema kinds;
create type kinds.mood as enum ('calm', 'it''s fine', 'Wild');
create domain kinds.price as numeric check (value >= 0);
create type kinds.pair as (n integer, note text);
"""


def distinct(kind: Kind, least: int, most: int) -> st.SearchStrategy[list[Cell]]:
    """Draws some values of a kind. They are few, so that statements affect each other's rows."""
    return st.lists(kind.cells, min_size=least, max_size=most, unique_by=lambda c: c.text)
