"""Each row of docs/reference/capture.md names its tests, and each test of capture is in a row."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "reference" / "capture.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`(test_\w+\.py::test_\w+)`", PAGE)
EXISTING = sorted(
    f"{path.name}::{node.name}"
    for path in TESTS.glob("test_*.py")
    if path.name != Path(__file__).name
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
)


def rows() -> list[list[str]]:
    """Returns the cells of all table rows whose last column is `test`."""
    found: list[list[str]] = []
    inside = False
    for line in PAGE.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            inside = False
        elif cells[-1] == "test":
            inside = True
        elif inside and set(cells[0]) != {"-"}:
            found.append(cells)
    return found


def test_every_test_of_capture_is_in_the_table() -> None:
    assert EXISTING
    assert [name for name in EXISTING if name not in NAMED] == []


def test_every_row_names_tests_that_exist() -> None:
    assert len(rows()) > 100
    for row in rows():
        named = re.findall(r"`(test_\w+\.py::test_\w+)`", row[-1])
        assert named, row
        assert set(named) <= set(EXISTING), row


def test_every_row_says_what_happens() -> None:
    assert [row for row in rows() if len(row) != 3 or not all(row) or "unknown" in row[1].lower()] == []
