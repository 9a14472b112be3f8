"""Adoption: the report of `bridge.adopt`: a log that was restored from elsewhere now belongs to this cluster."""

import msgspec


class Adoption(msgspec.Struct, frozen=True):
    """Why the log had to be adopted, and what waited in it."""

    reason: str
    waiting: int
    """Number of events that were not delivered in the cluster that the log comes from."""
