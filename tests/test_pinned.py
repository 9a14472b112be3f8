"""Names of ours are never looked up in schemas where others can create objects: the rule of docs/decisions/0013.

The parser checks it. A function has `set search_path = pg_catalog, pg_temp`, or it is one of a few that need the
caller's path. Those, and all statements on a connection with another path, write every function, operator and type
with its schema.
"""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pglast
import psycopg
import pytest
from pglast.ast import (
    A_Expr,
    CaseExpr,
    CreateFunctionStmt,
    DoStmt,
    FuncCall,
    GrantStmt,
    JoinExpr,
    RangeVar,
    SubLink,
    TypeName,
    VariableSetStmt,
)
from pglast.enums import A_Expr_Kind, RoleSpecType
from pglast.visitors import Visitor

from tests.fix_postgres import TRIGGERS_SQL

ROOT = TRIGGERS_SQL.parent
PINNED = "pg_catalog, pg_temp"
# These functions look up names as the caller does, or as the writer does (a partition key's function).
ON_THE_CALLERS_PATH = {"_relations", "plan", "apply", "alter", "_note_move"}
# The body of these functions is parsed when the file is applied, and may become part of a calling query.
PARSED = {"_is_wide", "_waits_in_foreign_log"}
# These statements run on connections of Django or the user, or before our session has set its path.
SQL = ROOT / "bridge" / "database" / "sql"
SOURCES = [*sorted((ROOT / "django_app").rglob("*.py")), ROOT / "bridge" / "inbox.py"]
BEFORE_THE_PATH = ["read_backend_pid", "prepare_session", "plan_watches", "apply_watches"]
_STATEMENT = re.compile(r"\s*(select|insert into|update \w+\.|delete from|with \w+ as)\s")


class Unqualified(Visitor):
    """Collects the names in a statement that PostgreSQL would look up by the search_path."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def visit_FuncCall(self, _: Any, node: FuncCall) -> None:  # noqa: N802 - pglast defines the names
        self._check("function", [name.sval for name in node.funcname or ()])

    def visit_TypeName(self, _: Any, node: TypeName) -> None:  # noqa: N802
        self._check("type", [name.sval for name in node.names or ()])

    def visit_A_Expr(self, _: Any, node: A_Expr) -> None:  # noqa: N802
        kinds = {A_Expr_Kind.AEXPR_OP, A_Expr_Kind.AEXPR_OP_ANY, A_Expr_Kind.AEXPR_OP_ALL}
        assert node.kind is not None
        names = [name.sval for name in node.name or ()]
        self._check("operator", names if node.kind in kinds else [A_Expr_Kind(node.kind).name])

    def visit_SubLink(self, _: Any, node: SubLink) -> None:  # noqa: N802
        if node.testexpr is not None:
            self._check("operator", [name.sval for name in node.operName or ()])

    def visit_CaseExpr(self, _: Any, node: CaseExpr) -> None:  # noqa: N802
        if node.arg is not None:
            self.found.append("operator = of CASE x WHEN y")

    def visit_JoinExpr(self, _: Any, node: JoinExpr) -> None:  # noqa: N802
        if node.usingClause or node.isNatural:
            self.found.append("operator = of USING")

    def visit_RangeVar(self, _: Any, node: RangeVar) -> None:  # noqa: N802
        self._check("relation", [part for part in (node.schemaname, node.relname) if part])

    def _check(self, kind: str, names: list[str]) -> None:
        if len(names) < 2 or names[0] not in {"pg_catalog", "bridge"}:
            self.found.append(f"{kind} {'.'.join(names)}")


def unqualified(statement: str) -> list[str]:
    visitor = Unqualified()
    visitor(pglast.parse_sql(statement))
    return visitor.found


def statements() -> list[Any]:
    return [raw.stmt for raw in pglast.parse_sql(TRIGGERS_SQL.read_text())]


def functions() -> Iterator[tuple[str, dict[str, Any], str | None]]:
    """Yields name, options and search_path of each function of triggers.sql."""
    for node in statements():
        if isinstance(node, CreateFunctionStmt):
            given = node.options or ()
            options = {option.defname: option.arg for option in given if option.defname != "set"}
            paths = [
                ", ".join(part.val.sval for part in option.arg.args or ())
                for option in given
                if isinstance(option.arg, VariableSetStmt) and option.arg.name == "search_path"
            ]
            yield [part.sval for part in node.funcname or ()][-1], options, paths[0] if paths else None


def test_every_function_has_a_fixed_search_path_or_names_everything_with_its_schema() -> None:
    loose = {name: options for name, options, path in functions() if path != PINNED}
    assert {name for name, options in loose.items() if "as" not in options} == PARSED
    assert set(loose) - PARSED == ON_THE_CALLERS_PATH
    for name in ON_THE_CALLERS_PATH:
        options = loose[name]
        assert "security" not in options, name
        body = options["as"][0].sval
        assert (unqualified(body) if options["language"].sval == "sql" else unqualified_calls(body)) == [], name


def unqualified_calls(body: str) -> list[str]:
    """Returns the names that a PL/pgSQL body calls without a schema, and operators other than :=."""
    code = re.sub(r"--.*|'(?:[^']|'')*'|operator\(pg_catalog\.[^)]+\)", "", body)
    calls = [name for name in re.findall(r"([\w.]+)\s*\(", code) if name.split(".")[0] not in {"pg_catalog", "bridge"}]
    return [name for name in calls if name != "coalesce"] + re.findall(r"(?<!:)[=<>+*/|&-]+", code)


def test_a_function_that_lends_rights_has_a_fixed_search_path() -> None:
    definers = [(name, path) for name, options, path in functions() if "security" in options]
    assert len(definers) > 5
    assert {path for _, path in definers} == {PINNED}


def test_the_file_pins_its_path_first_and_gives_it_back_last() -> None:
    bodies = [
        next(arg.arg.sval for arg in node.args or () if arg.defname == "as") if isinstance(node, DoStmt) else ""
        for node in statements()
    ]
    assert all("set_config('search_path', 'pg_catalog, pg_temp'" in body for body in bodies[:2])
    assert "set_config('search_path', substr(kept" in bodies[-1]
    # Before that, every call and every operator has its schema.
    for body in bodies[:2]:
        calls = re.findall(r"([\w.]+)\s*\(", re.sub(r"operator\([^)]*\)", "", body))
        assert calls
        assert {call.split(".")[0] for call in calls} <= {"pg_catalog", "coalesce"}


def test_nothing_is_granted_to_everybody() -> None:
    grants = [
        node
        for node in statements()
        if isinstance(node, GrantStmt)
        and node.is_grant
        and any(role.roletype == RoleSpecType.ROLESPEC_PUBLIC for role in node.grantees or ())
    ]
    assert grants == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_statement_on_somebody_elses_path_names_everything_with_its_schema(source: Path) -> None:
    for text in strings(source):
        assert unqualified(text) == [], text


@pytest.mark.parametrize("name", BEFORE_THE_PATH)
def test_a_statement_of_a_session_without_our_path_names_everything_with_its_schema(name: str) -> None:
    text = (SQL / f"{name}.sql").read_text()
    assert unqualified(re.sub(r"%\(\w+\)s", "$1", text)) == []


def strings(source: Path) -> list[str]:
    """Returns the SQL statements among a module's strings, with parameters in PostgreSQL's notation."""
    found = [
        node.value
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and _STATEMENT.match(node.value)
    ]
    # psycopg.sql fills in {}: an identifier, or the user's own condition, which means what it means to the user.
    return [re.sub(r"%s|%\(\w+\)s", "$1", text.replace("{}", "pg_catalog.composed")) for text in found]


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("select count(*)", "function count"),
        ("select 1 = 2", "operator ="),
        ("select nullif(1, 2)", "operator AEXPR_NULLIF"),
        ("select 1 in (2, 3)", "operator AEXPR_IN"),
        ("select 1 between 2 and 3", "operator AEXPR_BETWEEN"),
        ("select 'a' like 'b'", "operator AEXPR_LIKE"),
        ("select 1 is distinct from 2", "operator AEXPR_DISTINCT"),
        ("select 1 in (select 2)", "operator "),
        ("select 1 = any (select 2)", "operator ="),
        ("select case 1 when 2 then 3 end", "operator = of CASE x WHEN y"),
        ("select '1'::text", "type text"),
        ("select from event", "relation event"),
        ("select from bridge.event join bridge.position using (stream)", "operator = of USING"),
    ],
)
def test_the_parser_finds_a_name_without_a_schema(statement: str, name: str) -> None:
    """This shows that the tests above can fail."""
    assert name in unqualified(statement)


def test_what_is_installed_is_pinned_too(conn: psycopg.Connection) -> None:
    """Functions that other functions generate are visible only in the database."""
    loose = conn.execute(
        """
        select proname from pg_proc
        where pronamespace = 'bridge'::regnamespace
            and 'search_path=pg_catalog, pg_temp' <> all (coalesce(proconfig, '{}'))
        """
    ).fetchall()
    assert {name for (name,) in loose} == ON_THE_CALLERS_PATH | PARSED
