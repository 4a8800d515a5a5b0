"""Loading of a network to evaluate or publish, from a release, a run folder or a state dict file."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from model_store import architectures
from model_store.model_info import DEFAULT_SCORE_THRESHOLD, state_dict_info
from model_store.network import LoadedNetwork, facts_of, load_network
from model_store.state_dict import read_state_dict
from model_store.store import sha256_of
from training.records.checkpoint import BEST
from training.records.history import best_epoch
from training.records.run_folder import RUN, RunError, RunRecord, read_metrics


def load_model(
    ref: str, *, store_root: Path, class_names: Sequence[str] | None = None, min_size: int | None = None
) -> LoadedNetwork:
    """Load a network from a run folder, or from anything that `model_store.network.load_network` accepts.

    Raises:
        RunError: a run folder has no best checkpoint, or class names or an input size are given for a run folder.
        ModelError: as `load_network`.
    """
    folder = Path(ref)
    if not (folder / RUN).is_file():
        return load_network(ref, store_root=store_root, class_names=class_names, min_size=min_size)
    for name, value in (("--labels", class_names), ("--min-size", min_size)):
        if value is not None:
            raise RunError(f"{ref} is a run and knows its class names and its input size; leave out {name}")
    return load_run(folder)


def load_run(folder: Path) -> LoadedNetwork:
    """Load the best checkpoint of a run. Its recommended threshold is the best one of its epoch.

    Raises:
        RunError: the folder holds no run, or no epoch has ended.
        BrokenStateDict: the checkpoint cannot be read.
    """
    record = RunRecord.read(folder)
    path = folder / BEST
    if not path.is_file():
        raise RunError(f"{folder} has no {BEST} yet; its first epoch has not finished")
    options = record.config.network_options()
    recognised = architectures.Recognised(
        record.config.architecture,
        class_count=len(record.class_names),
        options=options,
        state_dict=read_state_dict(path),
    )
    epochs = read_metrics(folder)
    threshold = best_epoch(epochs)["threshold"] if epochs else None
    facts = facts_of(recognised)
    info = replace(
        state_dict_info(path, sha256_of(path), facts, record.class_names),
        name=folder.resolve().name,
        version="run",
        score_threshold=DEFAULT_SCORE_THRESHOLD if threshold is None else float(threshold),
    )
    return LoadedNetwork(info, options, recognised.build(), None, facts)
