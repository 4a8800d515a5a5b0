"""Choice of the compute device; torch is imported only if the machine has a CUDA driver."""

import ctypes
import sys

from model_store.errors import DeviceNotAvailable

_DRIVER = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"


def choose_device(asked: str) -> str:
    """Return the device for `auto`, `cpu`, `cuda` or `cuda:N`; `auto` is CUDA if available, else the CPU.

    Raises:
        DeviceNotAvailable: the CUDA device is not on this machine, or the text names no device.
    """
    kind, _, index = asked.partition(":")
    if asked not in ("auto", "cpu") and (kind != "cuda" or not (index.isdecimal() or asked == "cuda")):
        raise DeviceNotAvailable(f"device {asked!r} is unknown; accepted: auto, cpu, cuda, cuda:N")
    if asked == "cpu":
        return "cpu"
    count = _cuda_count()
    if asked == "auto" and count == 0:
        return "cpu"
    number = int(index or 0)
    if number >= count:
        raise DeviceNotAvailable(f"device {asked!r} is not available: this machine has {count} CUDA devices")
    return f"cuda:{number}"


def _cuda_count() -> int:
    """Return the number of CUDA devices that torch can use; 0 without the driver or without torch."""
    try:
        ctypes.CDLL(_DRIVER)
        import torch  # noqa: PLC0415 - takes seconds, so only if the driver is there
    except (OSError, ImportError):
        return 0
    return torch.cuda.device_count() if torch.cuda.is_available() else 0
