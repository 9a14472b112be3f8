"""Fault: all faults, by name. Each function returns when the things that it broke are started again."""

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress

import psycopg

from tools.chaos.system import Bridge, System

Fault = Callable[[System, random.Random], None]
# SQLSTATE classes: no connection; ended by an operator or a crash; a conflict of two sessions.
_CLASSES = ("08", "57", "40")


def explains(error: psycopg.Error) -> bool:
    """Whether a fault, or a conflict of sessions, explains this error; otherwise the bridge caused it."""
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    # A session that waits inside capture waits for the bridge, so the bridge caused such a conflict.
    in_capture = error.sqlstate[:2] == "40" and "bridge." in (error.diag.context or "")
    return error.sqlstate[:2] in _CLASSES and not in_capture


def _bridge(system: System, choice: random.Random) -> Bridge:
    return choice.choice(system.bridges)


def kill_bridge(system: System, choice: random.Random) -> None:
    bridge = _bridge(system, choice)
    bridge.child.kill()
    bridge.again()


def stop_bridge(system: System, choice: random.Random) -> None:
    bridge = _bridge(system, choice)
    bridge.child.stop(signal.SIGTERM, 30)
    bridge.again()


def freeze_bridge(system: System, choice: random.Random) -> None:
    bridge = _bridge(system, choice)
    bridge.child.freeze()
    time.sleep(choice.uniform(0.5, 3))  # the time that it is frozen
    bridge.child.send(signal.SIGCONT)


def terminate(system: System, condition: str) -> None:
    with system.connect() as conn:
        conn.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {condition}".encode())


def terminate_bridges(system: System, choice: random.Random) -> None:
    terminate(system, f"application_name like 'bridge {choice.choice(('relay', 'listen', 'sleep'))}%'")


def terminate_writers(system: System, choice: random.Random) -> None:
    terminate(system, "backend_type = 'client backend' and application_name = '' and pid <> pg_backend_pid()")


def restart_postgres(system: System, choice: random.Random) -> None:
    system.postgres.restart("fast")


def crash_postgres(system: System, choice: random.Random) -> None:
    system.postgres.restart("immediate")


def kill_postgres(system: System, choice: random.Random) -> None:
    system.postgres.kill()
    system.postgres.start()


def fail_over(system: System, choice: random.Random) -> None:
    """Fails over to an asynchronous standby that lacks up to two seconds of changes, which may be delivered already."""
    system.cut_standby_off()
    time.sleep(choice.uniform(0, 2))  # the time that its link is broken
    system.fail_over()


def fail_over_behind_a_bridge(system: System, choice: random.Random) -> None:
    """Fails over while a bridge is frozen. It wakes up with the events that it read from the primary that is gone."""
    bridge = _bridge(system, choice)
    bridge.child.freeze()
    fail_over(system, choice)
    bridge.child.send(signal.SIGCONT)


def kill_backend(system: System, choice: random.Random) -> None:
    """Kills one backend, upon which PostgreSQL restarts all of them."""
    with system.connect() as conn:
        pids = conn.execute("select pid from pg_stat_activity where application_name like 'bridge relay%'").fetchall()
    for (pid,) in choice.sample(pids, min(1, len(pids))):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def kill_rabbitmq(system: System, choice: random.Random) -> None:
    system.rabbitmq.kill()
    system.rabbitmq.start()


def restart_rabbitmq(system: System, choice: random.Random) -> None:
    system.rabbitmq.restart()


def kill_valkey(system: System, choice: random.Random) -> None:
    system.valkey.kill()
    system.valkey.start()


def restart_valkey(system: System, choice: random.Random) -> None:
    system.valkey.restart()


FAULTS: dict[str, Fault] = {
    fault.__name__: fault
    for fault in (
        kill_bridge, stop_bridge, freeze_bridge, terminate_bridges, terminate_writers, restart_postgres,
        crash_postgres, kill_postgres, kill_backend, fail_over, fail_over_behind_a_bridge, kill_rabbitmq,
        restart_rabbitmq, kill_valkey, restart_valkey,
    )
}  # fmt: skip
