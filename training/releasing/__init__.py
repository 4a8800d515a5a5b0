"""From a checkpoint to a release, and from a release to one with faster engines."""
