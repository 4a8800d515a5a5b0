"""Errors of models, worded for the person who serves or publishes one."""


class ModelError(ValueError):
    """A model that cannot be served or published.

    ModelError
    ├── ReleaseNotFound      no such release in the store
    ├── BrokenRelease        missing or changed files, or files that do not fit the manifest
    ├── BrokenStateDict      a file that is not a state dict, or holds more than tensors
    ├── UnknownArchitecture  a state dict of a network that is not in the table
    ├── GoldenMismatch       a loaded model that does not reproduce its release's detections
    ├── DeviceNotAvailable   a device that is not on this machine
    └── EngineNotAvailable   an unknown engine, or one that does not run here
    """


class ReleaseNotFound(ModelError):
    """A name or version that is not in the store."""


class BrokenRelease(ModelError):
    """A release whose files are missing, were changed, or do not fit its manifest."""


class BrokenStateDict(ModelError):
    """A file that is not a state dict, or holds Python objects beside tensors."""


class UnknownArchitecture(ModelError):
    """A state dict whose names and shapes fit no architecture in the table."""


class GoldenMismatch(ModelError):
    """A loaded model whose detections on the golden images differ from its manifest."""


class DeviceNotAvailable(ModelError):
    """A device that is not on this machine."""


class EngineNotAvailable(ModelError):
    """An engine that does not exist or does not run here."""
