"""The processor's capabilities, and the number of cores this process may use."""

import math
import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_QUOTAS = (Path("/sys/fs/cgroup/cpu.max"), Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"))
_PERIOD = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_ISAS_WITH_BFLOAT16 = ("BF16", "FP16", "AMX", "AVX10")
"""Substrings of oneDNN's instruction set names (`dnnl::cpu_isa`) that include bfloat16."""

_NEWEST_WITHOUT_AMX = "AVX512_CORE_FP16"


def usable_cores() -> int:
    """Return how many cores this process may keep busy: its CPU affinity, or its container's quota if that is less."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(affinity, _quota())))


def _quota() -> float:
    """Return the number of cores granted by the cgroup (version 2, then 1), or infinity without a limit or a cgroup."""
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
    """Return the processor's name, its instruction sets and oneDNN's limit: everything compiled code may depend on."""
    facts = _cpuinfo()
    name = facts.get("model name", platform.processor() or platform.machine())
    features = facts.get("flags") or facts.get("Features", "")  # ARM has Features
    return f"{name} {features} {_isa_limit()}".strip()


def has_bfloat16() -> bool:
    """Return whether the processor computes in bfloat16 natively: AVX512_BF16, AMX, or ARM's bf16.

    oneDNN can be limited to older instruction sets. Under such a limit OpenVINO crashes if asked for bfloat16.
    """
    facts = _cpuinfo()
    if "bf16" in facts.get("Features", "").split():
        return True
    known = {"avx512_bf16", "amx_bf16"} & set(facts.get("flags", "").split())
    limit = _isa_limit()
    return bool(known) and (not limit or any(isa in limit for isa in _ISAS_WITH_BFLOAT16))


def avoid_amx() -> None:
    """Keep oneDNN from using AMX, unless it is limited already. Call it before OpenVINO compiles its first graph.

    On processors with AMX, OpenVINO 2026.4 ends the process when an int8 graph sees images of several sizes in turn.
    """
    if "amx_int8" in _cpuinfo().get("flags", "").split() and not _isa_limit():
        os.environ[_ISA_VARIABLES[0]] = _NEWEST_WITHOUT_AMX


def _isa_limit() -> str:
    """Return the newest instruction set that oneDNN may use, by oneDNN's name, or an empty string without a limit."""
    for variable in _ISA_VARIABLES:
        if (value := os.environ.get(variable, "").upper()) not in ("", "DEFAULT", "ALL"):
            return value
    return ""


def _cpuinfo() -> dict[str, str]:
    """Return `/proc/cpuinfo` of the first core, or an empty dict if it is unavailable."""
    try:
        first = _CPUINFO.read_text().partition("\n\n")[0]
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
