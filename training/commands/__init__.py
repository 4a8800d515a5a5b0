"""The commands of `python -m training`, with a one-line summary of each.

`training/commands/NAME.py` has `add_flags(parser)`, which adds the arguments, and `run(options)`, which does the work.
`run` itself imports slow modules such as torch, so that help and shell completion answer at once.
"""

from collections.abc import Mapping

VERBS: Mapping[str, str] = {
    "inspect": "show what a dataset contains and what is wrong with it",
    "convert": "write a dataset in another format",
    "train": "train a detector on labelled images",
    "evaluate": "measure a release, a run or a state dict on labelled images",
    "compare": "compare the configurations and figures of runs",
    "predict": "detect objects in photos; write pictures and LabelMe files",
    "publish": "publish a run's best checkpoint as a release",
    "accelerate": "add fast engines to a release as its next version",
    "export": "write a detector as an ONNX file or for OpenVINO Model Server",
    "render": "render labelled photos of dice or of your own meshes",
    "cutouts": "render the parts of composites, to train with --composites-from",
    "preview": "render a few scenes and show their boxes",
    "sim2real": "compare a detector's figures on renders and on real photos",
    "make": "turn a 3D model into a release: render, train, report, publish",
    "adapt": "teach a release the photos of the place where it runs",
}

DISTRIBUTED_VERBS = ("train", "evaluate")
"""Commands that torchrun may start in several processes."""
