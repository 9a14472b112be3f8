"""A model of capture in plain Python, and random histories that compare it with PostgreSQL.

kind        column types, and how an event shows a value
table       tables of a story
condition   the `condition` of a watch, in SQL and in Python
watch       the event that a change of a row becomes
alteration  changes of a table's columns
statement   the rows that one statement changes
world       transactions: visible rows, committed rows, and the events that must exist
story       random schemas, watches and histories
stage       a database and sessions for a story
performance plays a story on a stage and compares
reader      a relay that reads one stream
"""
