"""HTTP: /healthz (the event loop runs), /readyz (all streams are served), /metrics (Prometheus)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import msgspec
from prometheus_client import make_wsgi_app

from bridge.errors import ConfigError
from bridge.telemetry.health import Health
from bridge.telemetry.prometheus import Metrics


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Logs nothing, since each probe would be a line."""


@contextmanager
def serve(host: str, port: int, health: Health, metrics: Metrics) -> Iterator[int]:
    """Serves in a separate thread, which also answers while the event loop is busy or stuck. Yields the port."""
    try:
        server = make_server(host, port, _application(health, metrics), _Server, _Quiet)
    except OSError as error:
        raise ConfigError(f"--http {host}:{port}: {error.strerror}") from error
    thread = Thread(target=server.serve_forever, name="http", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _application(health: Health, metrics: Metrics) -> Callable[..., Iterable[bytes]]:
    prometheus = make_wsgi_app(metrics.registry)

    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/metrics":
                answer: Iterable[bytes] = prometheus(environ, start_response)
                return answer
            case "/healthz":
                status = "200 OK" if health.is_alive() else "503 Service Unavailable"
            case "/readyz":
                status = "200 OK" if health.is_ready() else "503 Service Unavailable"
            case _:
                status = "404 Not Found"
        start_response(status, [("Content-Type", "application/json")])
        return [msgspec.json.encode({"streams": health.as_dict()}) + b"\n"]

    return application
