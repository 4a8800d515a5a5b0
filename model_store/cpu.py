"""What the processor can do, and how much of it this process may use."""

import math
import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_QUOTAS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_ISAS_WITH_BFLOAT16 = ("BF16", "FP16", "AMX", "AVX10")
"""What the names of oneDNN's instruction sets with bfloat16 contain (`dnnl::cpu_isa`)."""


def usable_cores() -> int:
    """Return how many cores this process may keep busy: its affinity, or its container's quota if that is less."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(affinity, _quota())))


def _quota() -> float:
    """Return the cores that the cgroup (version 2, then 1) grants; infinity without a limit or a cgroup."""
    for path in _QUOTAS:
        try:
            words = path.read_text().split()
            period = words[1] if len(words) > 1 else _PERIOD.read_text().strip()
            if words[0] not in ("max", "-1"):
                return int(words[0]) / int(period)
        except (OSError, ValueError, IndexError):
            continue
    return math.inf


def model_name() -> str:
    """Return the processor's name and what compiled code may depend on: its instruction sets and oneDNN's limit."""
    facts = _cpuinfo()
    name = facts.get("model name", platform.processor() or platform.machine())
    features = facts.get("flags") or facts.get("Features", "")  # Features on ARM
    return f"{name} {features} {_isa_limit()}".strip()


def has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16 natively: AVX512_BF16, AMX, or ARM's bf16.

    oneDNN can be limited to older instruction sets; asked for bfloat16 then, OpenVINO crashes.
    """
    facts = _cpuinfo()
    if "bf16" in facts.get("Features", "").split():
        return True
    known = {"avx512_bf16", "amx_bf16"} & set(facts.get("flags", "").split())
    limit = _isa_limit()
    return bool(known) and (not limit or any(isa in limit for isa in _ISAS_WITH_BFLOAT16))


def _isa_limit() -> str:
    """Return the newest instruction set that oneDNN may use, in its own words; empty without a limit."""
    for variable in _ISA_VARIABLES:
        if (value := os.environ.get(variable, "").upper()) not in ("", "DEFAULT", "ALL"):
            return value
    return ""


def _cpuinfo() -> dict[str, str]:
    """Return the facts of the first core; empty where the system does not tell them."""
    try:
        first = _CPUINFO.read_text().partition("\n\n")[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
