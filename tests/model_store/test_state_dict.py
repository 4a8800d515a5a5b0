"""Files of state dicts: tensors and nothing else are read."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from model_store.errors import BrokenStateDict
from model_store.state_dict import read_state_dict

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


def test_a_pickled_module_is_refused_and_the_remedy_told(tmp_path: Path) -> None:
    torch.save(nn.Linear(3, 2), tmp_path / "model.pt")
    with pytest.raises(BrokenStateDict) as caught:
        read_state_dict(tmp_path / "model.pt")
    assert str(caught.value) == (
        f"{tmp_path}/model.pt: holds a torch.nn.modules.linear.Linear beside tensors; "
        "save it with torch.save(model.state_dict(), ...)"
    )


def test_a_checkpoint_with_numpy_values_is_refused(tmp_path: Path) -> None:
    torch.save({"model": TENSORS, "best": np.float64(0.5)}, tmp_path / "last.pt")
    with pytest.raises(BrokenStateDict, match=r"holds a numpy\.\S+ beside tensors"):
        read_state_dict(tmp_path / "last.pt")


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
