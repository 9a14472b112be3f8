"""Fault: all faults, by name. Each function returns when the things that it broke are started again."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from monkey.zoo import Bridge, Zoo

Fault = Callable[[Zoo, random.Random], None]
# SQLSTATE classes: no connection; ended by an operator or a crash; a conflict of two sessions.
_CLASSES = ("08", "57", "40")


def explains(error: psycopg.Error) -> bool:
    """Whether a fault, or a conflict of sessions, explains this error; otherwise the bridge caused it."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    # A session that waits inside capture waits for the bridge, so the bridge caused such a conflict.
    in_capture = error.sqlstate[:2] == "40" and "bridge." in (error.diag.context or "")
    return error.sqlstate[:2] in _CLASSES and not in_capture


def _bridge(zoo: Zoo, choice: random.Random) -> Bridge:
    return choice.choice(zoo.bridges)


def kill_bridge(zoo: Zoo, choice: random.Random) -> None:
    bridge = _bridge(zoo, choice)
    bridge.child.kill()
    bridge.again()


def stop_bridge(zoo: Zoo, choice: random.Random) -> None:
    bridge = _bridge(zoo, choice)
    bridge.child.stop(signal.SIGTERM, 30)
    bridge.again()


def freeze_bridge(zoo: Zoo, choice: random.Random) -> None:
    bridge = _bridge(zoo, choice)
    bridge.child.send(signal.SIGSTOP)
    time.sleep(choice.uniform(0.5, 3))  # the time that it is frozen
    bridge.child.send(signal.SIGCONT)


def terminate(zoo: Zoo, condition: str) -> None:
    with zoo.connect() as conn:
        conn.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {condition}".encode())


def terminate_bridges(zoo: Zoo, choice: random.Random) -> None:
    terminate(zoo, f"application_name like 'bridge {choice.choice(('relay', 'listen', 'sleep'))}%'")


def terminate_writers(zoo: Zoo, choice: random.Random) -> None:
    terminate(zoo, "backend_type = 'client backend' and application_name = '' and pid <> pg_backend_pid()")


def restart_postgres(zoo: Zoo, choice: random.Random) -> None:
    zoo.postgres.restart("fast")


def crash_postgres(zoo: Zoo, choice: random.Random) -> None:
    zoo.postgres.restart("immediate")


def kill_postgres(zoo: Zoo, choice: random.Random) -> None:
    zoo.postgres.kill()
    zoo.postgres.start()


def fail_over(zoo: Zoo, choice: random.Random) -> None:
    """Fails over to an asynchronous standby that lacks up to two seconds of changes, which may be delivered already."""
    zoo.cut_standby_off()
    time.sleep(choice.uniform(0, 2))  # the time that its link is broken
    zoo.fail_over()


def fail_over_behind_a_bridge(zoo: Zoo, choice: random.Random) -> None:
    """Fails over while a bridge is frozen. It wakes up with the events that it read from the primary that is gone."""
    bridge = _bridge(zoo, choice)
    bridge.child.send(signal.SIGSTOP)
    fail_over(zoo, choice)
    bridge.child.send(signal.SIGCONT)


def kill_backend(zoo: Zoo, choice: random.Random) -> None:
    """Kills one backend, upon which PostgreSQL restarts all of them."""
    with zoo.connect() as conn:
        pids = conn.execute("select pid from pg_stat_activity where application_name like 'bridge relay%'").fetchall()
    for (pid,) in choice.sample(pids, min(1, len(pids))):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_rabbitmq(zoo: Zoo, choice: random.Random) -> None:
    zoo.rabbitmq.kill()
    zoo.rabbitmq.start()


def restart_rabbitmq(zoo: Zoo, choice: random.Random) -> None:
    zoo.rabbitmq.restart()


def kill_valkey(zoo: Zoo, choice: random.Random) -> None:
    zoo.valkey.kill()
    zoo.valkey.start()


def restart_valkey(zoo: Zoo, choice: random.Random) -> None:
    zoo.valkey.restart()


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_bridge, stop_bridge, freeze_bridge, terminate_bridges, terminate_writers, restart_postgres,
        crash_postgres, kill_postgres, kill_backend, fail_over, fail_over_behind_a_bridge, kill_rabbitmq,
        restart_rabbitmq, kill_valkey, restart_valkey,
    )
}  # fmt: skip
