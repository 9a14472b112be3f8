"""`manage.py bridge`: the command line of `bridge` with the project's database and Celery app, and its own commands."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from catalog.models import Product
from catalog.tasks import reprice
from celery import Celery
from django.core.management import CommandError, call_command
from django.test import override_settings
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from bridge.chain import task_context
from bridge.errors import BrokerError
from bridge.publisher.workers import ask
from bridge.scope import Scope
from django_app import on_change, project, watch
from django_app.cli.environment import project_environment
from django_app.declarations import registry
from django_app.management.commands.bridge import _databases
from tests.fix_bridge import ROOT, environment
from tests.fix_postgres import Database, on_pg18

SHOP = ROOT / "examples" / "shop"


def manage(*words: str, code: int = 0, **variables: str) -> str:
    """Runs manage.py of the shop as its user does. Returns what it prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=SHOP, env=environment(COLUMNS="200", PYTHONPATH=str(ROOT), **variables),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def shop(migrated: Database) -> Callable[..., str]:
    def run(*words: str, code: int = 0) -> str:
        return manage(*words, code=code, SHOP_DATABASE_URL=migrated.dsn, SHOP_BROKER_URL="memory://")

    return run


def test_help_teaches_without_a_database() -> None:
    said = manage("bridge", "--help", SHOP_DATABASE_URL="postgresql:///nowhere")
    for step in ("manage.py migrate", "manage.py bridge run", "manage.py bridge doctor", "explain"):
        assert step in said


def test_a_command_uses_the_database_and_the_app_of_the_settings(shop: Callable[..., str]) -> None:
    said = shop("bridge", "doctor", "--settings=shop.settings", code=1)
    assert 'stream "default": nobody serves it' in said
    assert "start one: celery -A shop worker" in said or "the workers can't be asked" in said


@pytest.mark.parametrize("options", [["--no-color", "-v", "0", "--skip-checks"], ["--force-color", "--verbosity=2"]])
def test_the_options_that_every_command_of_django_has(shop: Callable[..., str], options: list[str]) -> None:
    said = shop("bridge", "status", *options, "--traceback", code=1)
    assert "nobody serves it" in said
    assert ("\x1b[" in said) is ("--force-color" in options)


def test_a_traceback_is_shown_to_who_asks_for_it(migrated: Database) -> None:
    with pytest.raises(AssertionError, match="Traceback"):
        manage("bridge", "status", "--database=none", "--traceback", code=1, SHOP_DATABASE_URL=migrated.dsn)


def test_a_wrong_use_is_one_sentence(shop: Callable[..., str]) -> None:
    assert "No such command 'stats'" in shop("bridge", "stats", code=2)
    assert "catalog.Thing is not a model of this project" in shop("bridge", "explain", "catalog.Thing", code=2)
    assert "“x” value must be an integer" in shop("bridge", "explain", "catalog.Product", "--pk", "x", code=2)


def test_without_postgresql_it_says_so() -> None:
    with override_settings(BRIDGE_DATABASE="none"), pytest.raises(CommandError, match="DATABASES has no alias 'none'"):
        call_command("bridge", "status")


def test_the_operator_s_own_address_comes_first(migrated: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A direct address, where Django's settings lead through a pooler. DATABASE_URL is Django's own matter."""
    monkeypatch.setenv("DATABASE_URL", "postgresql:///elsewhere")
    monkeypatch.delenv("BRIDGE_DATABASE_URL", raising=False)
    with project_environment(["default"]):
        assert conninfo_to_dict(os.environ["BRIDGE_DATABASE_URL"])["dbname"] == migrated.name
        assert os.environ["BRIDGE_CELERY_APP"] == "shop"
    assert "BRIDGE_DATABASE_URL" not in os.environ
    monkeypatch.setenv("BRIDGE_DATABASE_URL", "postgresql:///direct")
    with project_environment(["default"]):
        assert os.environ["BRIDGE_DATABASE_URL"] == "postgresql:///direct"


def test_the_option_database_comes_before_the_variable(migrated: Database) -> None:
    def dead_letters(*words: str, code: int = 0) -> str:
        away = "postgresql://127.0.0.1:1/nowhere"
        return manage(
            "bridge", "dead-letters", "list", *words,
            code=code, SHOP_DATABASE_URL=migrated.dsn, SHOP_BROKER_URL="memory://", BRIDGE_DATABASE_URL=away,
        )  # fmt: skip

    assert "0 dead letters" in dead_letters("--database", "default")
    assert "Connection refused" in dead_letters(code=2)


def test_a_wrong_database_is_one_sentence(shop: Callable[..., str]) -> None:
    assert "--database needs an alias" in shop("bridge", "status", "--database", code=2)
    twice = shop("bridge", "status", "--database=default", "--database", "default", code=2)
    assert "this command looks at one database" in twice
    for command in ("apply", "explain catalog.Product", "shadow", "status"):
        assert "DATABASES has no alias 'x'" in shop("bridge", "--database=x", *command.split(), code=2)


def test_a_role_without_rights_and_no_database_are_one_sentence(migrated: Database) -> None:
    role = f"{migrated.name}_nobody"
    with migrated.connect() as admin:
        admin.execute(f"create role {role} login".encode())
    try:
        for dsn, said in (
            (make_conninfo(migrated.dsn, user=role), "permission denied for schema bridge"),
            (make_conninfo(migrated.dsn, dbname="nowhere"), 'database "nowhere" does not exist'),
        ):
            for words in ("bridge explain catalog.Product", "bridge apply", "bridge shadow", "bridge_sync"):
                code = 1 if words == "bridge_sync" else 2
                printed = manage(*words.split(), code=code, SHOP_DATABASE_URL=dsn, SHOP_BROKER_URL="memory://")
                assert said in printed, (words, printed)
        # A finding says what to do, as the commands do.
        dsn = make_conninfo(migrated.dsn, user=role)
        printed = manage("check", "--database=default", SHOP_DATABASE_URL=dsn, SHOP_BROKER_URL="memory://")
        assert "permission denied for schema bridge: connect with a role that has this right" in printed
    finally:
        with migrated.connect() as admin:
            admin.execute(f"drop role {role}".encode())


@on_pg18
def test_run_without_a_celery_app_names_the_setting(migrated: Database, tmp_path: Path) -> None:
    (tmp_path / "lonely.py").write_text(
        "from shop.settings import database\nimport os\nINSTALLED_APPS = ['django_app']\nROOT_URLCONF = None\n"
        "DATABASES = {'default': database(os.environ['SHOP_DATABASE_URL'])}\n"
    )
    for words in (["run"], ["run", "--worker"]):
        said = manage(
            "bridge", *words, "--settings=lonely", f"--pythonpath={tmp_path}", code=2, SHOP_DATABASE_URL=migrated.dsn
        )
        assert "no Celery app was found; name it in the settings: BRIDGE_CELERY_APP = 'shop.celery:app'" in said


@on_pg18
def test_the_role_of_the_bridge_compares_the_declared_watches(migrated: Database, roles: dict[str, str]) -> None:
    dsn = make_conninfo(migrated.dsn, user=roles["process"])
    for prepare in ("select 1", "select bridge.unwatch('catalog.product_reprice')"):
        with migrated.connect() as owner:
            owner.execute(prepare.encode())
        for command in ("status", "doctor"):
            said = manage("bridge", command, code=1, SHOP_DATABASE_URL=dsn, SHOP_BROKER_URL="memory://")
            assert "can't be compared" not in said
            assert ('watch "catalog.product_reprice" is declared, but not installed' in said) is ("unwatch" in prepare)


def test_the_option_database_reaches_commands_that_look_at_several() -> None:
    """They once lost it, and looked at the first database, or changed all of them."""
    assert _databases(["--database", "default", "apply", "--dry-run"]) == (
        ["apply", "--database=default", "--dry-run"], ["default"],
    )  # fmt: skip
    assert _databases(["shadow", "--json", "--database=default"])[0] == ["shadow", "--database=default", "--json"]
    assert _databases(["run", "--database=default", "--database=default"]) == (["run"], ["default", "default"])


def test_an_unknown_transport_is_named() -> None:
    with pytest.raises(BrokerError, match=r"^No such transport: nope"):
        ask({}, "nope://host", None)


def test_the_setting_names_the_app() -> None:
    with override_settings(BRIDGE_CELERY_APP="other.celery:app"):
        assert project.celery_app() == "other.celery:app"
    with override_settings(ROOT_URLCONF="json.urls"):  # a package without a Celery app
        assert project.celery_app() == "shop"


def test_migrate_check_finds_a_watch_that_nobody_has_installed(
    migrated: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command("migrate", check_unapplied=True)
    watch(Product, task=reprice, name="forgotten")
    try:
        with pytest.raises(SystemExit, match="1"):
            call_command("migrate", check_unapplied=True)
        assert 'watch "forgotten" is declared, but not installed' in capsys.readouterr().out
        with pytest.raises(SystemExit, match="1"):
            call_command("bridge", "apply", "--dry-run")
        call_command("bridge", "apply")
        call_command("migrate", check_unapplied=True)
    finally:
        registry._in_code.pop()


@pytest.mark.usefixtures("undeclared")
def test_apply_fails_for_a_table_that_does_not_exist(migrated: Database, capsys: pytest.CaptureFixture[str]) -> None:
    with override_settings(BRIDGE_WATCHES=[{"table": "nothing", "task": "t", "name": "w"}]):
        with pytest.raises(SystemExit, match="1"):
            call_command("bridge", "apply")
        assert "NOT INSTALLED w: table nothing does not exist" in capsys.readouterr().out
        with pytest.raises(SystemExit, match="1"):
            call_command("bridge_sync")


@pytest.mark.usefixtures("undeclared")
def test_a_condition_with_a_typo_names_the_columns_and_the_place(
    migrated: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(Product, task=reprice, name="w", when="new.prise > 1")
    call_command("migrate")
    [line] = [line for line in capsys.readouterr().out.splitlines() if "broken w" in line]
    assert "column new.prise does not exist" in line
    assert "The columns of old and new: id, name, price" in line
    assert "tests/django/test_bridge_command.py:" in line
    assert "PL/pgSQL" not in line


def test_explain_says_what_became_of_each_change(migrated: Database, capsys: pytest.CaptureFixture[str]) -> None:
    product = Product.objects.create(name="Tea", price=1)
    Product.objects.filter(pk=product.pk).update(price=2)
    call_command("bridge", "explain", "catalog.Product", "--pk", str(product.pk))
    said = capsys.readouterr().out
    for part in (
        "catalog.product_reprice  (catalog/watches.py:7)",
        "on        update of price",
        "task      catalog.tasks.reprice",
        "CREATE TRIGGER",
        "catalog.product_reprice update: waits, task ",
        "starts nothing for an update that leaves price as it was",
        "does not watch: insert, delete",
    ):
        assert part in said


@pytest.mark.usefixtures("undeclared")
def test_explain_says_that_a_task_of_the_watch_made_a_change(
    migrated: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    watch(Product, task=reprice, name="own", on=["update"], own_writes="ignore")
    call_command("bridge", "apply")
    product = Product.objects.create(name="Tea", price=1)
    header = {"id": 1, "watch": "own", "operation": "update", "context": None}
    with Scope(task_context("catalog.tasks.reprice", "id", header, [product.pk])):
        Product.objects.filter(pk=product.pk).update(price=2)
    call_command("bridge", "explain", "catalog.Product", "--pk", str(product.pk))
    said = capsys.readouterr().out
    assert "own update: starts nothing, since the task of this watch wrote it (own_writes)" in said


@pytest.mark.usefixtures("undeclared")
def test_explain_evaluates_the_condition_for_the_row(migrated: Database, capsys: pytest.CaptureFixture[str]) -> None:
    watch(Product, task=reprice, name="dear", when="new.price > 10 and new.name like 'T%'")
    call_command("bridge", "apply")
    for name, price, holds in (("Tea", 5, "false"), ("Tee", 11, "true")):
        product = Product.objects.create(name=name, price=price)
        call_command("bridge", "explain", "catalog.Product", "--pk", str(product.pk))
        assert f"as old and as new: {holds}" in capsys.readouterr().out


@pytest.mark.usefixtures("undeclared")
def test_a_declaration_beside_the_task() -> None:
    """The task gets its name from the decorator above, after the declaration."""
    app = project.load_app()
    assert isinstance(app, Celery)

    @app.task(name="beside.bound", bind=True, shared=False)
    @on_change(Product, columns=["price"], on=["update"])
    def bound(task: object, product_id: int) -> None: ...

    @on_change(Product, name="above")
    @app.task(name="beside.above", shared=False)
    def above(product_id: int) -> None: ...

    @on_change(Product)
    def no_task(product_id: int) -> None: ...

    try:
        first, second, third = registry.declared()
        assert (first.watch().task, first.watch().name) == ("beside.bound", "catalog.product_bound")
        assert second.watch().task == "beside.above"
        assert "tests/django/test_bridge_command.py:" in first.origin
        with pytest.raises(Exception, match="is not a Celery task"):
            third.watch()
    finally:
        for name in ("beside.bound", "beside.above"):
            app.tasks.pop(name, None)
