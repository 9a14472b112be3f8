"""Private servers for the demo and the tests. They end with the program that started them."""

from embedded.child import Child, StartError
from embedded.directory import PrivateDirectory
from embedded.postgres import Postgres
from embedded.rabbitmq import RabbitMQ
from embedded.valkey import Valkey

__all__ = ["Child", "Postgres", "PrivateDirectory", "RabbitMQ", "StartError", "Valkey"]
