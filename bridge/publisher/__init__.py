"""Publisher: the only package that uses Celery. Its calls block, so the relay calls it in a thread.

publisher   the relay calls it: it connects, publishes a batch, and reports what the broker did not confirm
crew        a publisher made of several processes, each with a `Publisher`
line        one connection to the broker, with its channels, carriers and declarations
task        sends a call by Celery's own send_task, through our producer: works for every call, but is slow
outlet      that producer: kombu's, with our own declarations and checks
delayed     declares what RabbitMQ needs to delay messages with a countdown
message     records the message of a target once from Celery and fills it for each call: quick
carrier     sends filled messages to the broker; through kombu this works for every transport
rabbitmq    a carrier that writes many messages as AMQP frames in one write
redis       a carrier that pushes many messages with one LPUSH
confirms    collects which messages RabbitMQ has confirmed
route       checks whether a queue takes a message
answer      decides what an error of the broker means
app         loads the user's Celery app
"""

from bridge.publisher.crew import Crew
from bridge.publisher.publisher import Publisher

__all__ = ["Crew", "Publisher"]
