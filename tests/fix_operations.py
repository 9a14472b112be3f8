"""The table of Django's operations in the docs, which the tests produce, and the option that renews it."""

import re
from pathlib import Path

import django
import pytest

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "django-operations.md"
VERSIONS = ("5.2", "6.0", "6.1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--renew-operations", action="store_true", help="rewrite docs/reference/django-operations.md")


class OperationsTable:
    """Rows `| operation | subject | 5.2 | 6.0 | 6.1 | afterwards |`. The tests fill the column of their Django."""

    def __init__(self, renew: bool) -> None:
        self._renew = renew
        self._column = VERSIONS.index(".".join(map(str, django.VERSION[:2])))

    def check(self, operation: str, subject: str, meanwhile: str, afterwards: str) -> None:
        lines = PAGE.read_text().splitlines()
        number = next((n for n, line in enumerate(lines) if line.startswith(f"| `{operation}` | {subject} |")), None)
        cells = ["", "", "", ""] if number is None else [cell.strip() for cell in lines[number].split("|")[3:-1]]
        found = cells[self._column], cells[3]
        if self._renew:
            cells[self._column], cells[3] = meanwhile, afterwards
            row = f"| `{operation}` | {subject} | {' | '.join(cells)} |"
            if number is None:
                last = max(n for n, line in enumerate(lines) if re.match(r"\|", line))
                lines.insert(last + 1, row)
            else:
                lines[number] = row
            PAGE.write_text("\n".join(lines) + "\n")
        else:
            renew = "scripts/test -n 0 -p no:randomly tests/django/test_operations.py --renew-operations"
            assert found == (meanwhile, afterwards), f"{PAGE.name} differs. If that is intended: {renew}"


@pytest.fixture
def operations_table(request: pytest.FixtureRequest) -> OperationsTable:
    return OperationsTable(bool(request.config.getoption("--renew-operations")))
