"""A minimal pooler in transaction mode: each transaction gets a server session that is free."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from struct import pack, unpack

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.fix_postgres import Database

_NEGOTIATION = (80877103, 80877104)  # SSLRequest, GSSENCRequest
_CANCEL = 80877102
_PARAMETERS = {
    "server_version": "18.0",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "integer_datetimes": "on",
    "standard_conforming_strings": "on",
}


class Link:
    """The socket of one side, read message by message (PostgreSQL's protocol 3: a letter, a length, the rest)."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    def read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def message(self) -> bytes:
        head = self.read(5)
        return head + self.read(unpack(">I", head[1:])[0] - 4)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class Session(Link):
    """A session of the server that is logged in."""

    def __init__(self, server: dict[str, str]) -> None:
        super().__init__(_dial(server))
        said = f"user\0{server['user']}\0database\0{server['dbname']}\0\0".encode()
        self.send(pack(">II", len(said) + 8, 196608) + said)
        self.key = b""
        while (message := self.message())[:1] != b"Z":
            if message[:1] == b"K":
                self.key = message[5:]


class Pooler:
    """Listens on its own port. It opens server sessions when they are needed, and reuses the latest one first."""

    def __init__(self, dsn: str) -> None:
        self._server = {name: str(value) for name, value in conninfo_to_dict(dsn).items()}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._free: list[Session] = []
        self._links: list[Link] = []
        self._at_work: dict[int, Session] = {}
        self._lock = threading.Lock()
        port = self._listener.getsockname()[1]
        self.dsn = make_conninfo(dsn, host="127.0.0.1", port=port, sslmode="disable")
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Ends all connections."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for link in self._links:
                link.close()

    def _accept(self) -> None:
        with suppress(OSError):
            for number in count(1):
                client = Link(self._listener.accept()[0])
                self._links.append(client)
                threading.Thread(target=self._serve, args=[client, number], daemon=True).start()

    def _serve(self, client: Link, number: int) -> None:
        try:
            if self._greet(client, number):
                while (message := client.message())[:1] != b"X":
                    self._transact(client, number, message)
        except (EOFError, OSError):
            pass
        finally:
            client.close()

    def _greet(self, client: Link, number: int) -> bool:
        while True:
            length, code = unpack(">II", client.read(8))
            said = client.read(length - 8)
            if code == _CANCEL:
                self._cancel(unpack(">I", said[:4])[0])
                return False
            if code not in _NEGOTIATION:
                break
            client.send(b"N")
        client.send(b"R" + pack(">II", 8, 0))
        for name, value in _PARAMETERS.items():
            text = f"{name}\0{value}\0".encode()
            client.send(b"S" + pack(">I", len(text) + 4) + text)
        client.send(b"K" + pack(">III", 12, number, 1) + b"Z" + pack(">I", 5) + b"I")
        return True

    def _cancel(self, number: int) -> None:
        with self._lock:
            session = self._at_work.get(number)
        if session is not None:
            request = Link(_dial(self._server))
            request.send(pack(">II", len(session.key) + 8, _CANCEL) + session.key)
            with suppress(EOFError):
                request.read(1)
            request.close()

    def _transact(self, client: Link, number: int, message: bytes) -> None:
        """Passes messages on until the server is idle again, which is the end of one transaction."""
        with self._lock:
            session = self._free.pop() if self._free else None
        session = session or self._connect()
        self._at_work[number] = session
        try:
            self._exchange(client, session, message)
        except BaseException:
            # A client that leaves within a transaction ends the server session too, as with PgBouncer.
            session.close()
            raise
        finally:
            del self._at_work[number]
        with self._lock:
            self._free.append(session)

    def _exchange(self, client: Link, session: Session, message: bytes) -> None:
        while True:
            if message[:1] == b"X":
                raise EOFError
            session.send(message)
            if message[:1] in (b"Q", b"S"):
                status = b""
                while not status:
                    answer = session.message()
                    client.send(answer)
                    status = answer[5:] if answer[:1] == b"Z" else b""
                if status == b"I":
                    return
            message = client.message()

    def _connect(self) -> Session:
        session = Session(self._server)
        self._links.append(session)
        return session


def _dial(server: dict[str, str]) -> socket.socket:
    host, port = server["host"], server.get("port", "5432")
    if host.startswith("/"):
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{host}/.s.PGSQL.{port}")
        return connection
    return socket.create_connection((host, int(port)))


@pytest.fixture
def pooler(database: Database) -> Iterator[Pooler]:
    """Starts a pooler in front of `database`, which must let everybody in."""
    pooler = Pooler(database.dsn)
    with psycopg.connect(pooler.dsn, autocommit=True) as conn:
        assert conn.execute("select 1").fetchone() == (1,)
    yield pooler
    pooler.close()
