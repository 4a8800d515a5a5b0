"""The service: a released model behind a REST API."""
