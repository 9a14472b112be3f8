"""Telemetry: what the process reports: logs, metrics, health, and its state for systemd."""
