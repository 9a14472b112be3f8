"""Chaos: faults at random while changes are committed, and an account of every change in the end.

zoo      all processes: servers, bridges, workers          writer   sessions that change rows in many ways
fault    what the monkey can do, each with a name          account  what was committed against what was delivered
"""
