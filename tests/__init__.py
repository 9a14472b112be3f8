"""Tests read like sentences. Fixtures come from the plugins that conftest.py lists."""
