"""The same network behind other servers; each runs in the environment of `make bench-env`."""
