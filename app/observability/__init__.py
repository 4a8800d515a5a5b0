"""Metrics, logs and request ids of the service."""
