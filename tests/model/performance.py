"""Plays a story on the stage and in the model, and compares the two."""

import json
from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from typing import assert_never

import psycopg

from tests.model.kind import canonical, quoted
from tests.model.reader import Reader
from tests.model.stage import SESSIONS, Stage
from tests.model.statement import Insert, Statement
from tests.model.story import Alter, Begin, End, EndPrepared, Read, ReadAction, Savepoint, Set, Step, Story, Write
from tests.model.watch import Event, Watch
from tests.model.world import Transaction, World

_LOG = "select stream, watch, op, key::text, data::text, context from bridge.event order by id"
_WAITING = "select count(*) from bridge.waiting where stream = %s"


def play(stage: Stage, story: Story) -> None:
    """Raises AssertionError, with all executed SQL as a note, if database and model differ."""
    performance = Performance(stage, story)
    try:
        performance.run()
    except Exception as error:
        error.add_note("\n".join(performance.script))
        raise


class Performance:
    def __init__(self, stage: Stage, story: Story) -> None:
        self.script: list[str] = []
        self._stage = stage
        self._story = story
        self._world = World(story.tables, story.watches)
        self._open: list[Transaction | None] = [None] * SESSIONS
        self._prepared: list[tuple[str, Transaction]] = []
        self._gids = 0
        self._alters = 0
        self._readers: dict[str, Reader] = {}

    def run(self) -> None:
        self._stage.clean()
        for table in self._story.tables:
            for statement in table.ddl():
                self._run(0, statement)
        for watch in self._story.watches:
            self._run(None, watch.sql())
        with ExitStack() as stack:
            for stream in {watch.stream for watch in self._story.watches}:
                self._readers[stream] = Reader(self._stage.portal, self._stage.dsn, stream, self._story.batch_size)
                stack.callback(self._readers[stream].close)
            for step in self._story.steps:
                self._step(step)
            for session in range(SESSIONS):
                self._end(session, "commit")
            while self._prepared:
                self._end_prepared(commit=True)
            for stream in self._readers:
                self._read(stream, "all")
        self._compare_logs()
        self._compare_order()

    def _step(self, step: Step) -> None:
        """Makes one step. Steps that make no sense at this moment do nothing."""
        match step:
            case Write(session, statement):
                self._write(session, statement)
            case Begin(session, isolation):
                if self._open[session] is None:
                    self._run(session, f"begin isolation level {isolation}")
                    self._open[session] = self._world.begin(isolation)
            case Set(session, context, capture):
                self._set(session, context, capture)
            case Savepoint(session, action):
                self._savepoint(session, action)
            case End(session, action):
                self._end(session, action)
            case EndPrepared(commit):
                if self._prepared:
                    self._end_prepared(commit)
            case Alter():
                self._alter(step)
            case Read(stream, action):
                if stream in self._readers:
                    self._read(stream, action)
            case _:
                assert_never(step)

    def _write(self, session: int, drawn: Statement) -> None:
        transaction = self._open[session] or self._world.begin("read committed")
        statement = drawn.on(self._world.table(transaction, drawn.table.name))
        if statement is not None and self._world.is_certain(transaction, statement):
            changes = self._world.foresee(transaction, statement)
            allowed = self._world.failures(transaction, statement)
            if changes is None:
                allowed |= {"23505", "21000"}
            if self._succeeds(session, statement.sql(), allowed, statement):
                assert changes is not None, "the database accepted two rows of one key"
                self._world.done(transaction, changes)
            elif transaction.savepoints:
                self._savepoint(session, "rollback")
            elif self._open[session] is not None:
                self._end(session, "rollback")
        if self._open[session] is None and transaction in self._world.open:
            self._world.commit(transaction)

    def _alter(self, step: Alter) -> None:
        """Alters the table in the session. Uses `bridge.alter` if PostgreSQL refuses it or the story says so."""
        self._alters += 1
        transaction = self._open[step.session] or self._world.begin("read committed")
        clauses = list(step.alteration.clauses(self._world.table(transaction, step.table), self._alters))
        if clauses and self._world.is_free(transaction, step.table) and self._is_known(step):
            if not self._needs_bridge(step):
                for clause, table in clauses:
                    self._run(step.session, f"alter table {table.sql} {clause}")
                    self._world.alter(transaction, table, rewrites=step.alteration.rewrites)
            elif self._open[step.session] is None and self._watches_are_whole(step):
                for clause, table in clauses:
                    self._run(None, f"select bridge.alter({quoted(table.sql)}, {quoted(clause)})")
                    self._world.alter(transaction, table, rewrites=step.alteration.rewrites)
                    self._world.follow(table)
        if self._open[step.session] is None:
            self._world.commit(transaction)

    def _watches(self, step: Alter) -> list[Watch]:
        return [w for w in self._world.watches if w.table.name == step.table]

    def _is_known(self, step: Alter) -> bool:
        """Whether the model can predict the result.

        It can't if a condition may not work with another type, or if two parts of a key may be gone, because the event
        names only one of them.
        """
        column = step.alteration.column
        for watch in self._watches(step):
            if step.alteration.rewrites and watch.condition and column in watch.condition.columns:
                return False
            if column in (watch.key or ()) and any(not self._world.schema[step.table].has(n) for n in watch.key or ()):
                return False
        return True

    def _needs_bridge(self, step: Alter) -> bool:
        return step.by_bridge or any(step.alteration.column in w.names_in_triggers() for w in self._watches(step))

    def _watches_are_whole(self, step: Alter) -> bool:
        """Whether all watches keep their keys. A watch without its key can't be made again."""
        names = [name for w in self._watches(step) for name in w.key or ()]
        return step.alteration.column not in names and all(map(self._world.schema[step.table].has, names))

    def _set(self, session: int, context: str | None, capture: bool | None) -> None:
        transaction = self._open[session]
        if transaction is not None and context is not None:
            self._run(session, f"set local bridge.context = {quoted(context)}")
            transaction.state = replace(transaction.state, context=context)
        if transaction is not None and capture is not None:
            self._run(session, f"set local bridge.capture = {'on' if capture else 'off'}")
            transaction.state = replace(transaction.state, capture=capture)

    def _savepoint(self, session: int, action: str) -> None:
        transaction = self._open[session]
        if transaction is None:
            return
        points = transaction.savepoints
        if action == "set":
            points.append(transaction.state)
            self._run(session, f"savepoint s{len(points)}")
        elif points and action == "rollback":
            transaction.state = points[-1]
            self._run(session, f"rollback to s{len(points)}")
        elif points:
            self._run(session, f"release s{len(points)}")
            points.pop()

    def _end(self, session: int, action: str) -> None:
        transaction = self._open[session]
        if transaction is None:
            return
        self._open[session] = None
        action = "commit" if action == "prepare" and not self._stage.prepares else action
        self._gids += 1
        gid = f"p{self._gids}"
        statement = f"prepare transaction '{gid}'" if action == "prepare" else action
        allowed = {"40001"} if transaction.isolation == "serializable" else set()
        if not self._succeeds(session, statement, allowed) or action == "rollback":
            self._world.rollback(transaction)
        elif action == "prepare":
            self._prepared.append((gid, transaction))
        else:
            self._world.commit(transaction)

    def _end_prepared(self, commit: bool) -> None:
        gid, transaction = self._prepared.pop(0)
        self._run(None, f"{'commit' if commit else 'rollback'} prepared '{gid}'")
        if commit:
            self._world.commit(transaction)
        else:
            self._world.rollback(transaction)

    def _read(self, stream: str, action: ReadAction) -> None:
        self.script.append(f"-- relay of {stream}: {action}")
        reader = self._readers[stream]
        match action:
            case "all":
                reader.drain()
            case "batch":
                reader.read()
            case "die":
                reader.die()
        expected = self._world.committed_events(stream) - len(reader.delivered)
        assert action != "all" or expected == 0, f"{expected} committed events of stream {stream} were never read"
        assert self._stage.admin.execute(_WAITING, [stream]).fetchone() == (expected,)

    def _compare_logs(self) -> None:
        actual = [
            Event(stream, watch, op, _canonical(key), _canonical(data), context)
            for stream, watch, op, key, data, context in self._stage.admin.execute(_LOG)
        ]
        for chunk in self._world.log():
            size = chunk.total()
            assert Counter(actual[:size]) == chunk
            del actual[:size]
        assert not actual

    def _compare_order(self) -> None:
        """Checks that each event came once, and that the events of one row are in the order of its changes."""
        for reader in self._readers.values():
            ids = [event.id for event in reader.delivered]
            assert len(set(ids)) == len(ids)
        for watch in self._story.watches:
            by_key: dict[str, list[int]] = {}
            for event in self._readers[watch.stream].delivered:
                if event.watch == watch.name and event.key is not None and watch.key is None:
                    by_key.setdefault(json.dumps(event.key), []).append(event.id)
            for ids in by_key.values():
                assert ids == sorted(ids)

    def _succeeds(self, session: int, sql: str, allowed: set[str], statement: Statement | None = None) -> bool:
        try:
            self._run(session, sql, statement)
        except psycopg.Error as error:
            self.script.append(f"-- {error.sqlstate}: {error.diag.message_primary}")
            if error.sqlstate not in allowed:
                raise AssertionError(f"no writer may fail with this error: {error}") from error
            return False
        return True

    def _run(self, session: int | None, sql: str, statement: Statement | None = None) -> None:
        self.script.append(f"/* {'admin' if session is None else session} */ {sql};")
        connection = self._stage.admin if session is None else self._stage.sessions[session]
        if isinstance(statement, Insert) and statement.how == "copy":
            with connection.cursor().copy(sql.encode()) as copy:
                for row in statement.rows:
                    copy.write_row([row[c.name].text for c in statement.table.columns])
        else:
            connection.execute(sql.encode())


def _canonical(document: str | None) -> str | None:
    return None if document is None else canonical(json.loads(document, parse_float=Decimal))
