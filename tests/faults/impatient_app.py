"""A Celery app that waits one second where the bridge would wait longer, so that tests of dead links are short."""

import os

from celery import Celery

app = Celery("impatient", broker="memory://")
app.conf.broker_connection_timeout = 1
app.conf.broker_transport_options = {
    "rabbitmq": {"read_timeout": 1, "write_timeout": 1},
    "valkey": {"socket_timeout": 1, "socket_connect_timeout": 1},
}[os.environ["SHOP_BROKER"]]
