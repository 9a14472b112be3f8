"""`manage.py bridge run --worker`: the bridge and a worker in one terminal."""

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from catalog.models import Product, TaskRun

from tests.eventually import eventually
from tests.fix_bridge import ROOT, environment
from tests.fix_postgres import Database
from tools.servers import Child, PrivateDirectory

SHOP = ROOT / "examples" / "shop"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A copy of the shop, whose code may be changed."""
    return Path(shutil.copytree(SHOP, tmp_path / "shop", ignore=shutil.ignore_patterns("__pycache__")))


@pytest.fixture
def terminal(migrated: Database, valkey_url: str, shop: Path, tmp_path: Path) -> Iterator[Child]:
    """The command, when both the bridge and the worker are ready."""
    variables = {"SHOP_DATABASE_URL": migrated.dsn, "SHOP_BROKER_URL": valkey_url, "PYTHONPATH": str(ROOT)}
    log = tmp_path / "log"
    with PrivateDirectory() as directory:
        argv = [sys.executable, "manage.py", "bridge", "run", "--worker"]
        child = Child(argv, directory, log=log, env=environment(**variables), cwd=shop)
        try:
            assert eventually(lambda: "serving" in log.read_text() and " ready." in log.read_text(), 30), child.tail()
            yield child
        finally:
            child.kill()


def test_bridge_and_worker_run_and_start_again_when_code_changes(terminal: Child, shop: Path) -> None:
    product = Product.objects.create(name="Tea", price=1)
    Product.objects.filter(pk=product.pk).update(price=2)
    assert eventually(lambda: TaskRun.objects.filter(product_id=product.pk).exists()), terminal.tail()
    before = terminal.log.read_text().count(" ready.")
    tasks = shop / "catalog" / "tasks.py"
    tasks.write_text(tasks.read_text() + "\n# changed\n")
    assert eventually(lambda: terminal.log.read_text().count(" ready.") > before, 30), terminal.tail()


@pytest.mark.parametrize(
    ("file", "line", "said"),
    [
        ("catalog/tasks.py", "def half(:", "SyntaxError"),
        ("shop/settings.py", "BRIDGE_DATABASE = 'defualt'", "DATABASES has no alias 'defualt'"),
    ],
)
def test_an_error_in_the_code_ends_nothing_for_good(
    terminal: Child, shop: Path, file: str, line: str, said: str
) -> None:
    """A file is saved half-written many times a day. `runserver` goes on, too."""
    text = (shop / file).read_text()
    ready = terminal.log.read_text().count(" ready.")
    (shop / file).write_text(f"{text}\n{line}\n")
    assert eventually(lambda: "start again when it changes" in terminal.log.read_text(), 30), terminal.tail()
    assert terminal.log.read_text().count(said) == 1
    (shop / file).write_text(text)
    assert eventually(lambda: terminal.log.read_text().count(" ready.") > ready, 30), terminal.tail()


@pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="the test reads /proc")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGINT])
def test_no_process_stays_behind_when_the_command_is_ended(terminal: Child, shop: Path, number: signal.Signals) -> None:
    assert len(running_in(shop)) >= 4  # the two of the reloader, the bridge, the worker
    os.kill(terminal.pid, number)
    assert eventually(lambda: not running_in(shop), 20), (running_in(shop), terminal.tail())


def running_in(folder: Path) -> dict[int, str]:
    """Returns the processes whose working directory this is, with their commands."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found[int(process.name)] = (process / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended
            continue
    return {pid: command for pid, command in found.items() if command}
