"""Chaos: makes random faults while changes are committed; in the end it accounts for every change.

system     all processes: servers, bridges, workers      writer   sessions that change rows in many ways
pair       a primary and its standby                      ledger   the writers' record of each change
fault      all faults, by name                            account  compares committed with delivered changes
migration  changes the tables' definition meanwhile
"""
