"""Private servers for the demo and the tests. They end with the program that started them."""

from tools.servers.child import Child, StartError
from tools.servers.directory import PrivateDirectory
from tools.servers.postgres import Postgres
from tools.servers.rabbitmq import RabbitMQ
from tools.servers.valkey import Valkey

__all__ = ["Child", "Postgres", "PrivateDirectory", "RabbitMQ", "StartError", "Valkey"]
