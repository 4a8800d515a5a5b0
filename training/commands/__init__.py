"""The commands of `python -m training`, with a one-line summary of each.

`training/commands/NAME.py` has `add_flags(parser)`, which adds the arguments, and `run(options)`, which does the work.
`run` itself imports slow modules such as torch, so that help and shell completion answer at once.
"""

from collections.abc import Mapping

VERBS: Mapping[str, str] = {
    "inspect": "show what a dataset holds, and what is wrong with it",
    "convert": "write a dataset in another format",
    "train": "train a detector on labelled images",
    "evaluate": "measure a release, a run or a state dict on labelled images",
    "compare": "put runs side by side: what differs, and what came of it",
    "predict": "write annotated pictures and LabelMe files for photos",
    "publish": "make a release of a run's best checkpoint",
    "accelerate": "prepare a release's fast engines, measure them, publish the next version",
    "render": "render labelled photos of dice or of your own meshes",
    "preview": "render a few scenes and show them with their boxes",
    "sim2real": "compare what a detector finds in rendered and in real photos",
    "make": "make a release of a 3D model: render, train, report, publish",
}

DISTRIBUTED_VERBS = ("train", "evaluate")
"""Commands that torchrun may start in several processes."""
