"""Chaos: faults at random while changes are committed, and an account of every change in the end.

zoo        all processes: servers, bridges, workers       writer   sessions that change rows in many ways
pair       a primary and its standby                      ledger   the writers' note of each change
fault      what the monkey can do, each with a name       account  what was committed against what was delivered
migration  changes of the tables' definition, meanwhile
"""
