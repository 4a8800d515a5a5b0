"""The same network on other servers, which run in the environment of `make bench-env`."""
