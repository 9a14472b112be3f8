"""Config: the settings of a running bridge."""

from urllib.parse import urlsplit, urlunsplit

import msgspec

from bridge.errors import ConfigError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of `bridge run`. Each has an option and an environment variable (docs/reference/settings.md)."""

    database_url: str
    database_label: str = ""
    """Name of the database in logs and metrics. Empty: the process serves one database only."""
    broker_url: str | None = None
    celery_app: str | None = None
    streams: tuple[str, ...] = ()
    """Names of the streams to serve. Empty: all streams."""
    http: str | None = None
    """Address (HOST:PORT) of /healthz, /readyz and /metrics."""
    batch_size: int = 5_000
    """Largest number of events published and confirmed at once. A crash can repeat up to this number."""
    publishers: int = 1
    """Number of processes that publish the batches of a stream."""
    catch_up_rate: float | None = None
    """Tasks per second while a backlog is delivered. None: no limit."""
    publish_unflushed: bool = False
    """Whether tasks are started for changes that a crash of the server could still undo."""
    poll_floor: float = 30.0
    """Longest time in seconds between two looks for events."""
    grace: float = 25.0
    """Seconds that a batch in flight has to finish after SIGTERM. Kubernetes kills after 30 s, so this is less."""
    takeover_after: float = 15.0
    """Seconds between two looks of a standby at a silent owner. The standby takes over after at most twice that."""
    retention: float = 24 * 3600.0
    """Seconds that delivered events stay in the log."""
    inbox_retention: float = 7 * 24 * 3600.0
    """Seconds that `bridge.inbox` remembers a task. It must be longer than a broker may hold back a message."""

    def label(self, stream: str) -> str:
        """Returns the name of a stream in logs, metrics and health. It has the database's name if there are several."""
        return f"{self.database_label}/{stream}" if self.database_label else stream

    def __repr__(self) -> str:
        broker = None if self.broker_url is None else without_password(self.broker_url)
        return f"Settings(database={without_password(self.database_url)}, broker={broker}, streams={self.streams})"


def without_password(address: str) -> str:
    """Returns the URL with its password replaced, so that it may be shown. Hides an address that is not a URL."""
    try:
        parts = urlsplit(address)
        # More than one "@", or an "@" after the host, means that the password is not encoded.
        if not parts.scheme or parts.hostname is None or address.count("@") > 1 or "@" in parts.path or ";" in address:
            return "(not shown)"
        host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    except ValueError:
        return "(not shown)"
    user = f"{parts.username}:***@" if parts.password else f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, user + host, parts.path, "", ""))


def host_and_port(address: str) -> tuple[str, int]:
    """Splits HOST:PORT, [IPv6]:PORT or :PORT (every interface) into host and port."""
    host, _, port = address.rpartition(":")
    if ":" not in address or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise ConfigError(f"--http {address}: this is not HOST:PORT; give an address such as 127.0.0.1:8090")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - ":PORT" asks for every interface
