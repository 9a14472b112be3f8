"""Tests are sentences; fixtures come from the plugins that conftest.py lists."""
