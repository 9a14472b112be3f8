"""The demo: products edited in the real admin, the old way and the bridge's, and what the tasks saw."""
