"""Releases and how they are run: manifest, store, architectures, engines; used by the service and by training alike."""
