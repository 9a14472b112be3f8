"""Sending: tasks as part of the transaction.

recording   lets Celery build the message of a task, and keeps it
letter      turns what Celery has built into what `bridge.send_task` takes
post        writes it into the log, on Django's connection
"""
