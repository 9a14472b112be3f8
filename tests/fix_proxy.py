"""A TCP proxy between a program and its server, which acts as a broken link when a test says so."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from socket import SO_LINGER, SOL_SOCKET, create_server, socket
from struct import pack
from typing import Literal

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

Direction = Literal["to_server", "to_client"]
Address = tuple[str, int] | Path
BOTH: tuple[Direction, Direction] = ("to_server", "to_client")


class Proxy:
    """Passes everything on until a method changes that. Any thread but the proxy's own may call the methods."""

    def __init__(self, portal: BlockingPortal, server: Address) -> None:
        """Connects to `server`, which is a host and port, or the path of a Unix socket."""
        self._portal = portal
        self._server = server
        self._open: dict[Direction, asyncio.Event] = {direction: asyncio.Event() for direction in BOTH}
        self._links: set[asyncio.Task[None]] = set()
        self._listener: socket | None = None
        self.port = 0
        self.resume()

    @property
    def links(self) -> int:
        """Returns the number of open connections."""
        return len(self._links)

    def resume(self) -> None:
        """Accepts and passes on again, beginning with the data that was swallowed on links that are still open."""
        self._portal.call(self._resume)

    def swallow(self, *directions: Direction) -> None:
        """Acts as a dead link, in both directions unless one is named: no data arrives and neither side is notified."""
        self._portal.call(self._swallow, directions or BOTH)

    def cut(self) -> None:
        """Ends all connections with a reset and loses what was swallowed. New connections are treated as before."""
        self._portal.call(self._cut)

    def refuse(self) -> None:
        """Refuses new connections. Open ones stay."""
        self._portal.call(self._refuse)

    async def _resume(self) -> None:
        if self._listener is None:
            self._listener = create_server(("127.0.0.1", self.port))
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            asyncio.get_running_loop().add_reader(self._listener, self._accept, self._listener)
        for event in self._open.values():
            event.set()

    async def _swallow(self, directions: tuple[Direction, ...]) -> None:
        for direction in directions:
            self._open[direction].clear()

    async def _cut(self) -> None:
        links = list(self._links)
        for link in links:
            link.cancel()
        await asyncio.gather(*links, return_exceptions=True)

    async def _refuse(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket) -> None:
        # Not awaited: if `sock_accept` is cancelled just after it took a connection, that connection would be lost.
        with suppress(OSError):
            client, _ = listener.accept()
            link = asyncio.create_task(self._link(client))
            self._links.add(link)
            link.add_done_callback(self._links.discard)
            # A link that is cut before its first step can't close the connection itself.
            link.add_done_callback(partial(_close, client))

    async def _link(self, client: socket) -> None:
        writers: list[asyncio.StreamWriter] = []
        try:
            from_client, to_client = await asyncio.open_connection(sock=client)
            writers.append(to_client)
            if isinstance(self._server, Path):
                from_server, to_server = await asyncio.open_unix_connection(self._server)
            else:
                from_server, to_server = await asyncio.open_connection(*self._server)
            writers.append(to_server)
            await asyncio.gather(
                self._pump(from_client, to_server, self._open["to_server"]),
                self._pump(from_server, to_client, self._open["to_client"]),
            )
        except (OSError, asyncio.CancelledError):
            for writer in writers:
                with suppress(OSError):
                    # From here on closing means a reset, and data that is not sent yet is lost.
                    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
                writer.transport.abort()
        # All writers are closed before the first wait, because the link can be cut during a wait.
        for writer in writers:
            writer.close()
        for writer in writers:
            with suppress(OSError):
                await writer.wait_closed()

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, is_open: asyncio.Event) -> None:
        while data := await source.read(1 << 16):
            await is_open.wait()
            target.write(data)
            await target.drain()
        await is_open.wait()
        target.write_eof()


def _close(client: socket, _: object) -> None:
    client.close()


@pytest.fixture
def proxy_to() -> Iterator[Callable[[Address], Proxy]]:
    """`proxy_to(("127.0.0.1", 5672))` is a proxy with its own `port`."""
    with start_blocking_portal() as portal, ExitStack() as stack:

        def make(server: Address) -> Proxy:
            proxy = Proxy(portal, server)
            stack.callback(proxy.cut)
            stack.callback(proxy.refuse)
            return proxy

        yield make
