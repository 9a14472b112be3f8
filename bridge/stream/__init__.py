"""Stream: the delivery of one stream, from the log to the broker.

relay       the life of a stream in this process: connecting, standby, owner, away
delivery    publishes batches and moves the position, as long as this session owns the stream
reader      reads one batch ahead, and merges events of watches that coalesce
event_log   reads windows of the log, and moves the position; row and portion make events of rows
listener    wakes the relay when a commit notifies
poller      wakes the relay where notifications do not arrive
takeover    how a standby notices that the owner is frozen
grace       the time that a batch has to finish after a stop was requested
"""
