"""What ends a verb of training: the root of its own errors."""


class TrainingError(Exception):
    """Input that cannot be used, or a training that cannot go on; the message names it, and what is accepted.

    TrainingError
    ├── ConfigError       a hyperparameter or a preset
    ├── RunError          a run's folder
    ├── BrokenCheckpoint  a checkpoint's file
    ├── BlenderMissing    no interpreter that has bpy
    ├── NonFiniteLoss     a loss became infinite or not a number
    ├── NotShared         several processes for a verb that runs in one
    ├── Differs           processes of one training that were given different things
    └── Elsewhere         another process of the training tells why
    """


class Elsewhere(TrainingError):
    """All processes of a training end, and the first of them tells why."""


class NotShared(TrainingError, ValueError):
    """A verb that runs in one process was started in several."""
