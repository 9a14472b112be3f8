"""Broker: its address as it may be shown, what is wrong with one that can't be used, and how long it may take to
answer."""

import re
from importlib.util import find_spec
from typing import Any

from celery import Celery

from bridge.errors import ConfigError
from bridge.secret import hidden

# Schemes of addresses that kombu reaches with the Redis client; longer ones, such as rediss, begin like these.
_REDIS = ("redis", "sentinel")
_ENCODED = "in a URL's password, write / as %2F, @ as %40, : as %3A, # as %23, ? as %3F"
# A name and the beginning of a password, then a character that ends the host's part of a URL, and the @ behind it. With
# other transports, such as Azure's, a password may be written as it is.
_TORN = re.compile(r"(?:^|;)(py)?(amqp|redis|sentinel)s?://[^/?#\s;]*:[^/?#\s;]*[/?#][^\s;]*@")


def shown_address(app: Celery) -> str:
    """Returns the address of the app's broker without its password; raises ConfigError if it can't be used."""
    require_encoded(app)
    try:
        return hidden(app.connection_for_write().as_uri())
    except Exception as error:
        raise ConfigError(_unusable(_urls(app)[0].partition(":")[0], error)) from error


def require_encoded(app: Celery) -> None:
    """Raises ConfigError for an address of which Python would take a part of the password for the host, and show it."""
    if any(map(_TORN.search, _urls(app))):
        raise ConfigError(f"the broker's address has an @ behind its host; {_ENCODED}")


def transport_options(app: Celery, seconds: int = 15) -> dict[str, Any]:
    """Returns the options for a connection to the app's broker, with this number of seconds for its answer. Else a
    peer that swallows packets could block the bridge for ever. The options of the user's app take precedence."""
    timeouts = {
        # The bridge reads confirms: all confirms of a batch must arrive within the read timeout.
        "amqp": {"write_timeout": seconds, "read_timeout": 2 * seconds},
        "redis": {"socket_timeout": seconds, "socket_connect_timeout": 5},
    }
    driver = app.connection_for_write().transport.driver_type
    return {**timeouts.get(driver, {}), **app.conf.broker_transport_options}


def _urls(app: Celery) -> list[str]:
    conf: Any = app.conf
    urls = conf.broker_write_url or conf.broker_url
    return [str(url) for url in (urls if isinstance(urls, list | tuple) else (urls,))]


def _unusable(scheme: str, error: Exception) -> str:
    """Returns the message for an address that kombu can't use."""
    # Without the client kombu raises an ImportError, or an AttributeError that does not name the client.
    if scheme.startswith(_REDIS) and (isinstance(error, ImportError) or find_spec("redis") is None):
        return f"{scheme}:// needs the Redis client: pip install 'commit-bridge[redis]'"
    if isinstance(error, ImportError):
        return f"{scheme}:// needs a client that can't be imported: {hidden(str(error))}"
    # The error may quote parts of the address, such as a password that is not encoded.
    return f"the broker's address can't be used: {hidden(str(error))}; {_ENCODED}"
