"""Publisher: the only package that knows Celery. Blocking; the relay calls it in a thread.

publisher   what the relay calls: connects, publishes a batch, says what the broker did not confirm
crew        the same in several processes, each with a publisher
task        Celery's own send_task, with a producer of ours: always right, and slow
delayed     where RabbitMQ keeps messages with a countdown itself
message     a target's message, recorded once from Celery and filled for each call: quick
carrier     how filled messages get to the broker; by way of kombu for any transport
rabbitmq    as AMQP frames, many in one write          redis   as one LPUSH for many
confirms    which messages RabbitMQ has confirmed
"""

from bridge.publisher.crew import Crew
from bridge.publisher.publisher import Publisher

__all__ = ["Crew", "Publisher"]
