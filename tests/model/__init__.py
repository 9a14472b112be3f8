"""A model of capture in plain Python, and random histories that compare it with PostgreSQL.

kind        column types, and how a value looks in an event
table       tables of a story
condition   the `condition` of a watch, in SQL and in Python
watch       which event a change of a row becomes
alteration  changes of a table's columns
statement   what one statement changes
world       transactions: what is visible, what is committed, which events must exist
story       random schemas, watches and histories
stage       plays a story on a real database and compares
"""
