"""Finds a TCP port of the loopback interface that is free at this moment, and stays free while its server restarts."""

import random
import socket
from contextlib import suppress

# Below the ports that Linux gives to outgoing connections (net.ipv4.ip_local_port_range begins at 32768): such a
# connection could take the port of a server that is stopped for a moment.
_FIRST, _LAST = 15_000, 32_000
_TRIES = 100
_random = random.SystemRandom()  # parallel tests have one seed, and would try the ports in one order


def free_port() -> int:
    for _ in range(_TRIES):
        port = _random.randint(_FIRST, _LAST)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise OSError(f"no free port was found between {_FIRST} and {_LAST} in {_TRIES} tries")
