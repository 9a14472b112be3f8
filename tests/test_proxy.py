"""The proxy breaks links as its methods say."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.fix_proxy import Address, Proxy

ProxyTo = Callable[[Address], Proxy]


@contextmanager
def link(proxy_to: ProxyTo) -> Iterator[tuple[Proxy, socket.socket, socket.socket]]:
    """Yields the proxy, and the two ends of a connection through it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = proxy_to(listener.getsockname())
        with socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
            server, _ = listener.accept()
            with server:
                server.settimeout(5)
                yield proxy, client, server


def test_it_passes_on_both_ways_and_the_end_too(proxy_to: ProxyTo) -> None:
    with link(proxy_to) as (proxy, client, server):
        client.sendall(b"ask")
        assert server.recv(10) == b"ask"
        server.sendall(b"answer")
        server.close()
        assert client.recv(10) == b"answer"
        assert client.recv(10) == b""
        client.close()
        assert eventually(lambda: proxy.links == 0)


def test_it_serves_a_unix_socket(proxy_to: ProxyTo, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with socket.create_connection(("127.0.0.1", proxy_to(tmp_path / "s").port), 5) as client:
            server, _ = listener.accept()
            with server:
                server.sendall(b"hello")
            assert client.recv(10) == b"hello"


def test_what_is_swallowed_arrives_after_it_or_never(proxy_to: ProxyTo) -> None:
    with link(proxy_to) as (proxy, client, server):
        proxy.swallow("to_client")
        client.sendall(b"ask")
        assert server.recv(10) == b"ask"
        server.sendall(b"late")
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(10)
        client.settimeout(5)
        proxy.resume()
        assert client.recv(10) == b"late"
        proxy.swallow()
        server.sendall(b"never")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(10)


def test_cut_resets_both_ends_and_refused_is_refused_until_it_resumes(proxy_to: ProxyTo) -> None:
    with link(proxy_to) as (proxy, client, server):
        proxy.refuse()
        client.sendall(b"still")
        assert server.recv(10) == b"still"
        proxy.cut()
        for end in (client, server):
            with pytest.raises(ConnectionResetError):
                end.recv(10)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", proxy.port), 5)
        proxy.resume()
        socket.create_connection(("127.0.0.1", proxy.port), 5).close()


def test_server_that_is_away_is_a_reset(proxy_to: ProxyTo, tmp_path: Path) -> None:
    proxy = proxy_to(tmp_path / "nobody")
    # The reset may arrive before connect() has returned.
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", proxy.port), 5) as client:
        client.recv(10)
