"""Config: the settings of a running bridge."""

from urllib.parse import urlsplit, urlunsplit

import msgspec

from bridge.errors import ConfigError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What `bridge run` was told; every field has a flag and an environment variable (docs/reference/settings.md)."""

    database_url: str
    broker_url: str | None = None
    celery_app: str | None = None
    streams: tuple[str, ...] = ()
    """Empty: all streams that there are."""
    http: str | None = None
    """HOST:PORT of /healthz, /readyz and /metrics."""
    batch_size: int = 5_000
    """Most events published and confirmed at once; also what a crash can repeat."""
    publishers: int = 1
    """Processes that publish the batches of a stream."""
    catch_up_rate: float | None = None
    """Tasks per second while a backlog is delivered; None: as fast as it goes."""
    publish_unflushed: bool = False
    """Whether tasks are started for changes that a crash of the server could still take away."""
    poll_floor: float = 30.0
    """Longest sleep in seconds."""
    grace: float = 25.0
    """Seconds that a batch in flight has to finish after SIGTERM; under the 30 s that Kubernetes waits."""
    takeover_after: float = 15.0
    """Seconds between two looks of a standby at an owner that says nothing; it takes over after twice that."""
    retention: float = 24 * 3600.0
    """Seconds that delivered events stay in the log."""
    inbox_retention: float = 7 * 24 * 3600.0
    """Seconds that `bridge.inbox` remembers a task; longer than a broker may hold one back."""

    def __repr__(self) -> str:
        broker = None if self.broker_url is None else without_password(self.broker_url)
        return f"Settings(database={without_password(self.database_url)}, broker={broker}, streams={self.streams})"


def without_password(address: str) -> str:
    """A URL fit to be shown: the password is replaced; an address that is no URL is not shown at all."""
    try:
        parts = urlsplit(address)
        if not parts.scheme or parts.hostname is None:
            return "(not shown)"
        host = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
    except ValueError:
        return "(not shown)"
    user = f"{parts.username}:***@" if parts.password else f"{parts.username}@" if parts.username else ""
    return urlunsplit((parts.scheme, user + host, parts.path, "", ""))


def host_and_port(address: str) -> tuple[str, int]:
    """HOST:PORT, [IPv6]:PORT or :PORT (every interface) as a pair."""
    host, _, port = address.rpartition(":")
    if ":" not in address or not port.isdecimal() or not 0 <= int(port) < 65536:
        raise ConfigError(f"--http {address}: give HOST:PORT, such as 127.0.0.1:8090")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - asked for by ":PORT"
