"""Files of state dicts: tensors and nothing else are read."""

import argparse
import collections
import datetime
import enum
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from model_store.errors import BrokenStateDict
from model_store.state_dict import read_state_dict, unwrap

TENSORS = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.zeros(2)}


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".tar"])
@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_what_torch_save_wrote_is_read(tmp_path: Path, suffix: str, is_zip: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save({"model": TENSORS}, path, _use_new_zipfile_serialization=is_zip)
    read = read_state_dict(path)
    assert set(read) == set(TENSORS)
    assert torch.equal(read["fc.weight"], TENSORS["fc.weight"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it has 0 bytes and begins with nothing"),
        (b"hello, this is a text file\n", "it has 27 bytes and begins with 68 65 6c 6c 6f"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), "begins with 89 50 4e 47"),
        (b"PK\x03\x04" + bytes(200), "begins with 50 4b 03 04"),
        (pickle.dumps({"a": 1}), "begins with 80 04"),
    ],
    ids=["empty", "text", "PNG", "broken zip", "a pickle"],
)
def test_other_files_are_refused_by_name(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(BrokenStateDict, match=message) as caught:
        read_state_dict(path)
    assert str(caught.value).startswith(f"{path}: not a complete file of torch.save; ")


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, is_zip: bool, fraction: float) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"a": torch.ones(500)}, path, _use_new_zipfile_serialization=is_zip)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    with pytest.raises(BrokenStateDict):
        read_state_dict(path)


def test_refuses_pickled_module_and_shows_remedy(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2), tmp_path / "model.pt")
    with pytest.raises(BrokenStateDict) as caught:
        read_state_dict(tmp_path / "model.pt")
    assert str(caught.value) == (
        f"{tmp_path}/model.pt: is a pickled Linear, not a state dict; where it was made, run "
        "model = torch.load(FILE, weights_only=False) and torch.save(model.state_dict(), 'weights.pt')"
    )


def test_refuses_pickled_module_inside_a_checkpoint(tmp_path: Path) -> None:
    torch.save({"model": nn.Linear(3, 2), "epoch": 3}, tmp_path / "last.pt")
    with pytest.raises(BrokenStateDict, match="is a pickled Linear, not a state dict"):
        read_state_dict(tmp_path / "last.pt")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_refuses_torchscript_without_a_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), tmp_path / "model.pt")
    recwarn.clear()
    with pytest.raises(BrokenStateDict, match="is a TorchScript archive, not a state dict; in the program"):
        read_state_dict(tmp_path / "model.pt")
    assert not recwarn.list


class _Level(enum.Enum):
    HIGH = 1


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
@pytest.mark.parametrize(
    "beside",
    [
        argparse.Namespace(lr=0.1, out=Path("runs"), opts=argparse.Namespace(a=[1, 2])),
        np.float64(0.5),
        np.arange(3),
        {"path": Path("a"), "when": datetime.datetime(2026, 1, 2, tzinfo=datetime.UTC), "level": _Level.HIGH},
    ],
    ids=["argparse", "NumPy number", "NumPy array", "paths and dates"],
)
def test_reads_weights_beside_other_objects(tmp_path: Path, beside: object, is_zip: bool) -> None:
    path = tmp_path / "last.pt"
    torch.save({"model": TENSORS, "args": beside, "epoch": 3}, path, _use_new_zipfile_serialization=is_zip)
    read = read_state_dict(path)
    assert set(read) == set(TENSORS)
    assert torch.equal(read["fc.weight"], TENSORS["fc.weight"])


def test_names_objects_that_cannot_be_passed_over(tmp_path: Path) -> None:
    torch.save({"model": TENSORS, "losses": collections.deque([1, 2])}, tmp_path / "last.pt")
    with pytest.raises(BrokenStateDict, match=r"holds collections\.deque beside tensors; save it with"):
        read_state_dict(tmp_path / "last.pt")


def test_reads_safetensors(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "weights.safetensors")
    read = read_state_dict(tmp_path / "weights.safetensors")
    assert torch.equal(read["fc.weight"], TENSORS["fc.weight"])


def test_refuses_truncated_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.ones(500)}, path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(BrokenStateDict, match="not a complete safetensors file"):
        read_state_dict(path)


DETECTOR = {
    "backbone.body.conv1.weight": torch.ones(2),
    "roi_heads.box_predictor.cls_score.weight": torch.ones(3, 2),
}


@pytest.mark.parametrize("prefix", ["model.", "net.detector.", "module.model._orig_mod."])
def test_removes_any_prefix_of_a_detector(prefix: str) -> None:
    checkpoint = {f"{prefix}{name}": tensor for name, tensor in DETECTOR.items()}
    checkpoint |= {"criterion.weight": torch.ones(4), f"ema_model.{prefix}roi_heads.x": torch.ones(1)}
    assert set(unwrap({"state_dict": checkpoint})) == set(DETECTOR)


class Payload:
    """What a hostile file does when it is unpickled: here it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
def test_nothing_in_a_file_is_run(tmp_path: Path, is_zip: bool) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"model": TENSORS, "x": Payload(tmp_path / "owned")}, path, _use_new_zipfile_serialization=is_zip)
    with pytest.raises(BrokenStateDict):
        read_state_dict(path)
    assert not (tmp_path / "owned").exists()


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_state_dict(tmp_path / "nothing.pt")


class TestUnwrap:
    TENSORS = {"a.weight": torch.ones(2), "a.count": torch.tensor(3)}  # noqa: RUF012

    @pytest.mark.parametrize(
        "wrap",
        [
            lambda tensors: tensors,
            lambda tensors: {"model": tensors, "epoch": 3},
            lambda tensors: {"state_dict": tensors, "optimizer": {"lr": 0.1}},
            lambda tensors: {"model_state_dict": tensors},
            lambda tensors: {f"module.{name}": tensor for name, tensor in tensors.items()},
            lambda tensors: {"model": {f"module.{name}": tensor for name, tensor in tensors.items()}},
            lambda tensors: {"ema": tensors, "decay": 0.99},
            lambda tensors: {"ema": {"module": tensors}, "updates": 7},
            lambda tensors: {f"_orig_mod.{name}": tensor for name, tensor in tensors.items()},
            lambda tensors: {"state_dict": {f"model._orig_mod.{name}": tensor for name, tensor in tensors.items()}},
            lambda tensors: {
                "n_averaged": torch.tensor(9),
                **{f"module.module.{name}": tensor for name, tensor in tensors.items()},
            },
        ],
        ids=[
            "bare",
            "model",
            "state_dict",
            "model_state_dict",
            "module.",
            "model and module.",
            "ema",
            "ema and module",
            "torch.compile",
            "Lightning and torch.compile",
            "AveragedModel of DataParallel",
        ],
    )
    def test_finds_the_state_dict(self, wrap: Callable[[dict[str, Tensor]], object]) -> None:
        taken = unwrap(wrap(self.TENSORS))
        assert set(taken) == {"a.weight", "a.count"}
        assert torch.equal(taken["a.weight"], torch.ones(2))
        assert taken["a.count"].dtype == torch.int64

    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
    def test_floats_become_float32(self, dtype: torch.dtype) -> None:
        assert unwrap({"a": torch.ones(2, dtype=dtype)})["a"].dtype == torch.float32

    @pytest.mark.parametrize(
        ("loaded", "message"),
        [
            ([torch.ones(2)], "holds a list"),
            (torch.ones(2), "holds a Tensor"),
            (None, "holds a NoneType"),
            ({}, "an empty dict"),
            ({"model": {}}, "an empty dict"),
            (
                {"stuff": {"a": torch.ones(2)}, "epoch": 3},
                "stuff, epoch are not a tensor; a checkpoint may hold its state dict under state_dict, ",
            ),
            ({"a": torch.ones(2), "epoch": 3}, "epoch is not a tensor"),
            ({"a": torch.ones(2).to_sparse()}, "a is not a tensor"),
            ({"a": torch.ones(2, device="meta")}, "a is not a tensor"),
            ({"a": torch.tensor([1.0, float("nan")])}, "values that are not finite in a"),
            ({"module.a": torch.tensor([1.0, float("inf")])}, "values that are not finite in a"),
            ({"a": torch.tensor([1e300], dtype=torch.float64)}, "values that are not finite in a"),
        ],
    )
    def test_refuses_anything_else_and_names_it(self, loaded: object, message: str) -> None:
        with pytest.raises(BrokenStateDict, match=message):
            unwrap(loaded)
