"""Senders: each publishes the messages of a batch over one connection, in its own way. Quick ones come first.

base        what each sender can do
rabbitmq    writes many messages as AMQP frames in one write
redis       pushes many messages with one LPUSH
kombu       publishes each message through kombu: works for every transport
letter      publishes messages that Celery has made in the program that sent them
celery      sends each call by Celery's own send_task: works for every call, but is slow
"""
