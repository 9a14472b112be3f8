"""An empty module: Django sends no signals for an app without it."""
