"""Doctor: finds what is wrong with an installation. Each finding names the command that mends it."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches

from bridge.call import Target
from bridge.database.connection import Connection
from bridge.database.query import query
from bridge.database.statement import statement
from bridge.operations.streams import StreamStatus
from bridge.operations.watches import Drift
from bridge.publisher.workers import Workers

_RESTLESS = statement("find_restless_keys")


def command(*words: str) -> str:
    """Returns the text of a command of `bridge`, for a shell. A framework has its own function for this."""
    return shlex.join(["bridge", *words])


def of_streams(
    streams: Sequence[StreamStatus], drift: Sequence[Drift], command: Callable[..., str] = command
) -> list[str]:
    """Returns what is wrong with the streams, and with the watches that do not fit their table."""
    found = [
        f'watch "{each.name}" does not fit its table any more: {each.reason}; declare it again, or remove it'
        if each.reason
        else f'watch "{each.name}" does not fit its table any more; run `{command("repair")}`'
        for each in drift
    ]
    for s in streams:
        if s.owner_pid is None and s.watches:
            found.append(f'stream "{s.stream}": nobody serves it; start `{command("run")}`')
        if s.broker_away_since is not None:
            since = f"{s.broker_away_since:%Y-%m-%d %H:%M:%S}"
            found.append(f'stream "{s.stream}": the broker has refused messages since {since}: {s.broker_error}')
        if s.dead_letters:
            found.append(f'stream "{s.stream}": {s.dead_letters} dead letters; see `{command("dead-letters", "list")}`')
    return found


def of_workers(targets: Mapping[str, Target], workers: Workers) -> list[str]:
    """Returns which watches start tasks that no running worker can run."""
    if not workers.tasks:
        return [f"no worker answers, so tasks wait in their queues; start one{_started(workers)}"]
    found = []
    # Two workers of one name on one host answer for each other.
    other = f"worker{len(workers.tasks) + 1}@%h"
    for name, target in targets.items():
        queue = workers.routes.get(name)
        readers = [worker for worker, read in workers.queues.items() if queue is None or queue in read]
        unaware = [worker for worker in readers if target.task not in workers.tasks.get(worker, ())]
        if not readers:
            found.append(
                f'watch "{name}": no worker reads its queue "{queue}", so its tasks pile up there; '
                f"start one{_started(workers, '-Q', str(queue), '-n', other)}"
            )
        elif len(unaware) == len(readers):
            found.append(
                f'watch "{name}": no worker knows its task "{target.task}", so workers discard it'
                f"{_similar(target.task, workers)}; correct the name in the watch, or start workers with that task"
            )
        elif unaware and queue is not None:
            found.append(
                f'watch "{name}": worker {", ".join(sorted(unaware))} reads the queue "{queue}", but does not know '
                f'the task "{target.task}" and discards it; start it again with the current code'
            )
    return found


async def of_keys(connection: Connection) -> list[str]:
    """Returns which rows change again and again: a task that writes the row that starts it never comes to rest."""
    rows = await query(connection, _RESTLESS, slow=True)
    return [
        f'watch "{row.watch}": the row {row.key} changed {row.changes} times within {row.seconds} s. '
        "Does its task write this row? See docs/howto/my-task-never-stops.md"
        for row in rows
    ]


def _started(workers: Workers, *options: str) -> str:
    return f": {shlex.join([*workers.command, *options])}" if workers.command else ""


def _similar(task: str, workers: Workers) -> str:
    known = sorted({name for names in workers.tasks.values() for name in names})
    close = get_close_matches(task, known, 1)
    return f' (did you mean "{close[0]}"?)' if close else ""
