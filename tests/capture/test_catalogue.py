"""Each row of docs/reference/capture.md has its tests, and each test of capture belongs to a row.

The map from rows to tests is catalogue.json: for each section, the first cell of each row with its tests.
"""

import ast
import json
import re
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = (TESTS.parents[1] / "docs" / "reference" / "capture.md").read_text(encoding="utf-8")
CATALOGUE: dict[str, dict[str, list[str]]] = json.loads((TESTS / "catalogue.json").read_text(encoding="utf-8"))
NAMED = [name for section in CATALOGUE.values() for names in section.values() for name in names]
EXISTING = sorted(
    f"{path.name}::{node.name}"
    for path in TESTS.glob("test_*.py")
    if path.name != Path(__file__).name
    for node in ast.parse(path.read_text(encoding="utf-8")).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
)


def rows() -> list[tuple[str, list[str]]]:
    """Returns the section and the cells of each row of a table whose second column is `what happens`."""
    found: list[tuple[str, list[str]]] = []
    section, inside = "", False
    for line in PAGE.splitlines():
        if line.startswith("## "):
            section = line[3:]
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not cells:
            inside = False
        elif cells[-1] == "what happens":
            inside = True
        elif inside and set(cells[0]) != {"-"}:
            found.append((section, cells))
    return found


def test_every_test_of_capture_belongs_to_a_row() -> None:
    assert EXISTING
    assert [name for name in EXISTING if name not in NAMED] == []


def test_every_row_has_tests_that_exist() -> None:
    assert len(rows()) > 100
    for section, cells in rows():
        names = CATALOGUE[section][cells[0]]
        assert names, cells
        assert set(names) <= set(EXISTING), cells


def test_the_catalogue_has_no_row_that_the_page_does_not_have() -> None:
    shown = {(section, cells[0]) for section, cells in rows()}
    assert [(section, row) for section, part in CATALOGUE.items() for row in part if (section, row) not in shown] == []


def test_every_row_says_what_happens() -> None:
    assert [cells for _, cells in rows() if len(cells) != 2 or not all(cells) or "unknown" in cells[1].lower()] == []
