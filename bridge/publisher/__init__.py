"""Publisher: the only package that uses Celery. Its calls block, so the relay calls it in a thread.

publisher   the relay calls it: it connects, publishes a batch, and returns a receipt
pool        a publisher made of several processes, each with a `Publisher`
receipt     what became of the events of a batch: refused, arrived, or not certain
dispatch    makes the call of each event, and pushes its message to a sender
connection  one connection to the broker, with its channels, senders and declarations
sender      how messages are sent: as AMQP frames, as Redis commands, by kombu, or by Celery
template    records the message of a target once from Celery and renders it for each call: quick
task        sends a call by Celery's own send_task, through a producer of ours
outlet      that producer: kombu's, with our own declarations and checks
delayed     declares what RabbitMQ needs to delay messages with a countdown
confirms    collects which messages RabbitMQ has confirmed
route       checks whether a queue takes a message
answer      decides what an error of the broker means
app         loads the user's Celery app
"""

from bridge.publisher.pool import Pool
from bridge.publisher.publisher import Publisher

__all__ = ["Pool", "Publisher"]
