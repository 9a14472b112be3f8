"""Makes RabbitMQ believe that it is out of memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.eventually import eventually
from tools.servers import RabbitMQ


@contextmanager
def memory_alarm(server: RabbitMQ) -> Iterator[None]:
    """Raises the memory alarm, so that RabbitMQ stops reading from publishers."""
    server.evaluate('vm_memory_monitor:set_vm_memory_high_watermark({absolute, "1MB"})')
    try:
        assert eventually(lambda: "memory" in server.evaluate("rabbit_alarm:get_alarms()"))
        yield
    finally:
        server.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.6)")
