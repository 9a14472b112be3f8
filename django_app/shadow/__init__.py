"""Shadow mode: compares what the project's own dispatch publishes with the events of watches that have `shadow`."""
