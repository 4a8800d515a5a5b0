"""Base class of the training errors, a stop on request, and the errors of commands that run in several processes."""


class TrainingError(Exception):
    """Unusable input, or a training run that cannot continue. The message names the input and what is accepted.

    TrainingError
    ├── ConfigError       a hyperparameter or a preset is wrong
    ├── RunError          a run folder is not what the command needs
    ├── ExportError       a model cannot be exported, or not to that place
    ├── BrokenCheckpoint  a checkpoint file is missing or unreadable
    ├── BlenderMissing    no Python interpreter with bpy was found
    ├── NonFiniteLoss     a loss or its gradient became infinite or NaN
    ├── NotDistributed    torchrun started a verb that runs in one process
    ├── InputMismatch     the processes of one training run got different input
    └── PeerFailed        the first process reports the error
    """


class Stopped(Exception):
    """A stop on request, after the work was saved. The message says how to continue."""


class PeerFailed(TrainingError):
    """An error that ends every process of a training run and that the first process reports."""


class NotDistributed(TrainingError, ValueError):
    """A single-process verb started in several processes."""
