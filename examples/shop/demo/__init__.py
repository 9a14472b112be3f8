"""The demo: edits products in the real admin, the old way and the bridge's way, and shows what the tasks saw."""
