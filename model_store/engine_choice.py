"""Choice of the engine by `auto`: the fastest that the release records as accurate and that runs here."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from model_store import cpu
from model_store.engines import ENGINES
from model_store.manifest import EngineRecord

_SPEED = {
    "openvino-int8": 1.0,
    "openvino-bf16": 0.7,
    "openvino-fp32": 0.5,
    "torch-fp16": 1.0,
    "torch-bf16": 0.5,
    "torch-fp32": 0.33,
}
"""Rough speed relative to the device's fastest engine; docs/performance.md has figures."""

_IN_WORDS = ((0.8, "about as fast"), (0.45, "at about half the speed"), (0.0, "at about a third of the speed"))


@dataclass(frozen=True)
class SkippedEngine:
    """An engine that `auto` would prefer to the running one, and the reason why it does not run; no path is named."""

    name: str
    reason: str


def by_speed(engines: Mapping[str, EngineRecord], device: str, *, is_bare: bool) -> Iterator[str]:
    """Yield the engines that `auto` may use, fastest first; the last one is the state dict's own network.

    Args:
        engines: the prepared engines of the release.
        device: `cpu` or `cuda:N`.
        is_bare: whether the model is a state dict without a release, which may run in bfloat16 unmeasured.
    """
    accurate = [name for name in ENGINES if name in engines and engines[name].is_judged]
    if device != "cpu":
        yield from (name for name in accurate if name == "torch-fp16")
    else:
        converted = "openvino-bf16" if is_bare and cpu.has_bfloat16() else "openvino-fp32"
        here = [name for name in accurate if name != "torch-fp16" and _is_fast_here(name)]
        yield from dict.fromkeys((*here, converted))
    yield "torch-fp32"


def _is_fast_here(name: str) -> bool:
    return cpu.has_bfloat16() or not name.endswith("-bf16")


def consequence(skipped: Sequence[SkippedEngine], running: str) -> str:
    """Return a log line with the engines that were skipped, at least one, and the cost in speed."""
    reasons = "; ".join(f"engine {item.name} is left out: {item.reason}" for item in skipped)
    speed = _SPEED[running] / _SPEED[skipped[0].name]
    cost = next((words for least, words in _IN_WORDS if speed >= least), _IN_WORDS[-1][1])
    return f"{reasons}. {running} serves instead, {cost}"
