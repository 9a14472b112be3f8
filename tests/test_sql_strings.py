"""No statement of SQL stands in a Python string: each is a file, so that it is parsed, reviewed and tested as SQL."""

import ast
import re
from collections.abc import Iterator

from tests.fix_bridge import ROOT

STATEMENT = re.compile(
    r"\s*(select\s|insert into\s|update \w+ set\s|delete from\s|with \w+ as\s|set (local|session|transaction)\s|"
    r"begin\b|commit( and chain)?$|rollback( and chain)?$|listen\s|notify\s|truncate\s|create\s|alter\s|drop\s|"
    r"lock table\s|declare\s|fetch\s|close\s|show (all|\w+_\w+)\b|do \$)",
    re.IGNORECASE,
)
# Statements with an identifier that only psycopg.sql can quote; a name of an application; a regular expression.
COMPOSED = {
    "listen {}",
    "fetch {} from {}",
    "select {} from {}",
    "select ({}) from {} as old, {} as new where {}",
    "listen ",
    r"insert into bridge\.installation \(version\) values \('([^']+)'\)",
}


def strings(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    documentation = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield node.value


def test_no_statement_stands_in_a_python_string() -> None:
    files = [file for folder in ("bridge", "django_app") for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 80
    found = [
        f"{file.relative_to(ROOT)}: {text[:60]!r}"
        for file in files
        for text in strings(file.read_text())
        if STATEMENT.match(text) and text not in COMPOSED and " " in text.strip()
    ]
    assert found == []
