"""README's way with psql, followed word for word: only the database, the addresses and the directory differ."""

import os
import re
import subprocess
import sys
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from tests.celery_queue import inbox
from tests.eventually import eventually
from tests.fix_bridge import ROOT, environment
from tests.fix_broker import Broker
from tests.fix_postgres import Database, on_pg18
from tools.servers import Child, Postgres, PrivateDirectory


@on_pg18
def test_the_three_steps_with_psql(empty_database: Database, valkey_url: str) -> None:
    section = (ROOT / "README.md").read_text().partition("## psql, without Django")[2].partition("\n## ")[0]
    install, declare, run = re.findall(r"^ {7}(\S.*)$", section, re.MULTILINE)
    server = conninfo_to_dict(empty_database.dsn)
    path = os.pathsep.join([str(Path(sys.executable).parent), str(Postgres.bin("psql").parent), os.environ["PATH"]])
    env = environment(PATH=path, PGHOST=str(server["host"]), PGPORT=str(server["port"]), PGUSER=str(server["user"]))

    def shell(command: str) -> None:
        subprocess.run(["bash", "-c", command], cwd=ROOT, env=env, check=True, capture_output=True, timeout=60)

    with empty_database.connect() as shop, PrivateDirectory() as directory:
        shop.execute("create table product (id int primary key, price int)")
        shop.execute("insert into product values (42, 1)")
        shell(install.replace("-d shop", f"-d {empty_database.name}"))
        shop.execute(declare.encode())
        for named, mine in (
            ("postgresql://localhost/shop", f"postgresql:///{empty_database.name}"),
            ("amqp://guest:guest@localhost//", valkey_url),
        ):
            assert named in run
            run = run.replace(named, mine)
        bridge = Child(["bash", "-c", f"exec {run}"], directory, log=directory.path / "log", env=env)
        assert eventually(lambda: "serving" in bridge.log.read_text()), bridge.tail()
        shop.execute("update product set price = 2")
        with inbox(Broker("valkey", valkey_url, queue="celery")) as tasks:
            (task,) = tasks.take(1)
        assert (task.name, task.args) == ("shop.tasks.reprice", [42])
        assert bridge.stop() == 0
