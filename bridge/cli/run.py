"""The command `bridge run`."""

import os
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import click

from bridge.cli.duration import duration
from bridge.cli.options import asynchronous, database_urls, required, setting
from bridge.database.connect import labels
from bridge.service import Service
from bridge.settings import Settings
from bridge.telemetry import logs

# Exit code when a batch was given up at the end of --grace. A supervisor may treat it differently from 0.
GAVE_UP = 3


@click.command()
@database_urls
@setting("--broker-url", metavar="URL", help="Celery's broker, such as amqp://user:password@host//.")
@setting(
    "--app",
    "celery_app",
    envvar="BRIDGE_CELERY_APP",
    metavar="MODULE:APP",
    help="Your Celery app, such as shop.celery:app. Its routes, queues, serializer and signals apply. Optional.",
)
@setting("--stream", "streams", multiple=True, help="Serve only this stream; may be repeated. Default: all streams.")
@setting("--http", metavar="HOST:PORT", help="Serve /healthz, /readyz and /metrics at this address.")
@setting(
    "--batch-size",
    type=click.IntRange(1, 10_000),
    default=5_000,
    help="Publish at most this many events at once; fewer while the broker needs over 0.1 s to confirm a batch.",
)
@setting(
    "--publishers",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Processes that share each batch of a stream, split by key. Useful where publishing takes a whole core.",
)
@setting(
    "--catch-up-rate",
    type=click.FloatRange(min=0.1),
    metavar="N",
    help="Start at most N tasks per second while a backlog is delivered, to spare the workers. Default: no limit.",
)
@setting(
    "--publish-unflushed",
    is_flag=True,
    help="Don't wait for the disk: start tasks also for changes that a crash of the server could still undo.",
)
@setting(
    "--poll-floor",
    type=duration("100ms"),
    default="30s",
    metavar="DURATION",
    help="Look for events at least this often, even if no notification comes.",
)
@setting(
    "--grace",
    type=duration("100ms"),
    default="25s",
    metavar="DURATION",
    help="Time that a batch in flight has to finish after SIGTERM.",
)
@setting(
    "--takeover-after",
    type=duration("1s"),
    default="15s",
    metavar="DURATION",
    help="A standby takes over when the owner is frozen while events wait: after this time, or at most twice as long.",
)
@setting(
    "--retention",
    type=duration(most="24h"),
    default="24h",
    metavar="DURATION",
    help="How long delivered events stay in the log.",
)
@setting(
    "--inbox-retention",
    type=duration("1m"),
    default="7d",
    metavar="DURATION",
    help="How long bridge.inbox remembers finished tasks.",
)
@setting("--log-format", type=click.Choice(["console", "json"]), default="console")
@setting("--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info")
def run(database_urls: tuple[str, ...], log_format: Literal["console", "json"], log_level: str, **options: Any) -> None:
    """Turn committed changes into Celery tasks until SIGTERM or Ctrl-C.

    Start it twice for high availability: one instance serves a stream, the others stand by and take over.
    """
    log = partial(logs.set_up, log_format, log_level)
    log()
    code = GAVE_UP if _serve(log, database_urls=database_urls, **options) else 0
    if any(thread is not threading.current_thread() and not thread.daemon for thread in threading.enumerate()):
        # A publish that was given up may still hang in its thread. It must not delay the exit.
        os._exit(code)
    sys.exit(code)


@asynchronous
async def _serve(log: Callable[[], None], *, database_urls: tuple[str, ...], **options: Any) -> bool:
    """Runs the service. Returns whether a batch was given up."""
    names = labels(database_urls) if len(database_urls) > 1 else [""]
    urls = database_urls or (required(None),)
    pairs = zip(urls, names, strict=True)
    service = Service([Settings(database_url=url, database_label=name, **options) for url, name in pairs])
    # Set up logging again, because the import of the user's app may have changed it.
    log()
    return await service.run()
