import pytest
import torch

from model_store.devices import choose_device
from model_store.errors import DeviceNotAvailable


def test_cpu_is_always_available() -> None:
    assert choose_device("cpu") == "cpu"


def test_auto_is_cuda_if_available() -> None:
    assert choose_device("auto") == ("cuda:0" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("asked", ["gpu", "", "CPU", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "cuda:²", "cuda0", "mps"])
def test_rejects_unknown_device(asked: str) -> None:
    with pytest.raises(DeviceNotAvailable, match=f"'{asked}' is unknown; accepted: auto, cpu, cuda, cuda:N"):
        choose_device(asked)


def test_rejects_missing_device() -> None:
    with pytest.raises(DeviceNotAvailable, match=r"'cuda:99' is not available: this machine has \d+ CUDA devices"):
        choose_device("cuda:99")
