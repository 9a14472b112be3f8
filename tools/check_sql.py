"""Parses SQL files with PostgreSQL's own parser, including PL/pgSQL bodies.

Usage: check_sql.py FILE-OR-FOLDER...
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pglast
from pglast.ast import CreateFunctionStmt, DoStmt, RawStmt

# psycopg's placeholders. They are replaced by parameters, which PostgreSQL's parser accepts.
_PLACEHOLDER = re.compile(r"%\((\w+)\)s")
# The PL/pgSQL parser has no database: it knows only the schemas pg_catalog and public.
_SCHEMA = re.compile(r"\bbridge\.")
# It does not know the row types of our tables either. It accepts them as records, but refuses arrays of them.
_ROWS = re.compile(r"\bbridge\.watch\[\]")


def problems(path: Path) -> Iterator[str]:
    text = _PLACEHOLDER.sub("$1", path.read_text())
    try:
        statements = pglast.parse_sql(text)
    except pglast.parser.ParseError as error:
        yield f"{path}: {error}"
        return
    for statement in statements:
        if _is_plpgsql(statement):
            # Positions count bytes of UTF-8. A length of 0 means "to the end".
            start, size = statement.stmt_location or 0, statement.stmt_len
            source = text.encode()[start : start + size if size else None].decode().strip()
            try:
                pglast.parse_plpgsql(_SCHEMA.sub("public.", _ROWS.sub("text[]", source)))
            except pglast.parser.ParseError as error:
                yield f"{path}:{text[: text.index(source)].count(chr(10)) + 1}: {error}"


def _is_plpgsql(raw: RawStmt) -> bool:
    match raw.stmt:
        case CreateFunctionStmt(options=options):
            return any(o.defname == "language" and o.arg.sval == "plpgsql" for o in options or ())
        case DoStmt(args=args):
            # No LANGUAGE means PL/pgSQL.
            return all(a.arg.sval == "plpgsql" for a in args or () if a.defname == "language")
    return False


def main(names: list[str]) -> int:
    roots = [Path(name) for name in names]
    files = [file for root in roots for file in (sorted(root.rglob("*.sql")) if root.is_dir() else [root])]
    found = [problem for file in files for problem in problems(file)]
    print(*found, f"SQL: {len(files)} files, {len(found)} problems", sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
