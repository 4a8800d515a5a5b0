"""What can be wrong with a model, as the person who serves or publishes it reads it."""


class ModelError(ValueError):
    """A model cannot be served or published.

    ModelError
    ├── ReleaseNotFound      no such release in the store
    ├── BrokenRelease        a release's files are missing, changed or do not fit its manifest
    ├── BrokenStateDict      a file that is no state dict, or holds more than tensors
    ├── UnknownArchitecture  a state dict of a network that is not in the table
    ├── GoldenMismatch       a loaded model does not repeat its release's detections
    ├── DeviceNotAvailable   the asked device is not on this machine
    └── EngineNotAvailable   there is no such engine
    """


class ReleaseNotFound(ModelError):
    """No release of this name and version is in the store."""


class BrokenRelease(ModelError):
    """A release's files are missing, were changed, or do not fit its manifest."""


class BrokenStateDict(ModelError):
    """The file is no state dict, or holds Python objects beside tensors."""


class UnknownArchitecture(ModelError):
    """The state dict's names and shapes fit no architecture in the table."""


class GoldenMismatch(ModelError):
    """The loaded model finds something else on the golden image than its manifest says."""


class DeviceNotAvailable(ModelError):
    """The asked device is not on this machine."""


class EngineNotAvailable(ModelError):
    """There is no engine of this name."""
