"""The hardware and the libraries behind the figures."""

import platform
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy
import PIL
import pydantic
import torch
import torchvision


def processor() -> str:
    """Return the processor's name."""
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()


def gpu(device: str) -> str:
    """Return a GPU's name, compute capability, memory and driver."""
    facts = torch.cuda.get_device_properties(device)
    return (
        f"{facts.name}, compute capability {facts.major}.{facts.minor}, {facts.total_memory / 1e9:.0f} GB, {_driver()}"
    )


def _driver() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return "driver unknown"
    asked = [program, "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)  # noqa: S603
        return f"driver {answer.stdout.split()[0]}"
    except (OSError, subprocess.SubprocessError, IndexError):
        return "driver unknown"


def versions() -> str:
    """Return the versions of Python, the libraries, CUDA and cuDNN."""
    modules: tuple[ModuleType, ...] = (torch, torchvision, numpy, PIL, pydantic)
    cudnn: Any = torch.backends.cudnn
    named = (f"{module.__name__} {module.__version__}" for module in modules)
    return ", ".join(
        (f"Python {platform.python_version()}", *named, f"CUDA {torch.version.cuda}", f"cuDNN {cudnn.version()}")
    )


def cuda_defaults() -> str:
    """Return the torch settings that select the fp32 kernels on a GPU."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    return (
        f"cudnn.allow_tf32 {cudnn.allow_tf32}, cudnn.benchmark {cudnn.benchmark}, "
        f"cuda.matmul.allow_tf32 {matmul.allow_tf32}"
    )
