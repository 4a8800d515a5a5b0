"""What ends a verb of training: the root of its own errors."""


class TrainingError(Exception):
    """Input that cannot be used, or a training that cannot go on; the message names it, and what is accepted.

    TrainingError
    ├── ConfigError       a hyperparameter or a preset
    ├── RunError          a run's folder
    ├── BrokenCheckpoint  a checkpoint's file
    ├── BlenderMissing    no interpreter that has bpy
    └── NonFiniteLoss     a loss became infinite or not a number
    """
