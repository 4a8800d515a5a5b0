"""How many cores there are to use, and what they can do."""

import os
from pathlib import Path

import pytest

from model_store import cpu


@pytest.mark.parametrize(
    ("content", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("broken", 8), ("", 8)],
)
def test_a_containers_quota_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str, expected: int
) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(content)
    monkeypatch.setattr(cpu, "_QUOTAS", (quota,))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert cpu.usable_cores() == expected


def test_the_quota_of_the_first_version_of_cgroups_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quota, period = tmp_path / "quota", tmp_path / "period"
    quota.write_text("300000\n")
    period.write_text("100000\n")
    monkeypatch.setattr(cpu, "_QUOTAS", (tmp_path / "missing", quota))
    monkeypatch.setattr(cpu, "_PERIOD", period)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert cpu.usable_cores() == 3


def test_avoids_amx_unless_limited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr(cpu, "_CPUINFO", facts)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "")
    facts.write_text("flags\t\t: sse avx512_bf16\n")
    cpu.avoid_amx()
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == ""
    facts.write_text("flags\t\t: sse avx512_bf16 amx_tile amx_int8\n")
    cpu.avoid_amx()
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX512_CORE_FP16"
    assert cpu.has_bfloat16()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    cpu.avoid_amx()
    assert os.environ["ONEDNN_MAX_CPU_ISA"] == "AVX2"


def test_bfloat16_follows_the_processors_flags_and_onednns_limit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr(cpu, "_CPUINFO", facts)
    facts.write_text("processor\t: 0\nmodel name\t: Some CPU\nflags\t\t: sse avx512_bf16\n\nprocessor\t: 1\n")
    assert cpu.has_bfloat16()
    assert cpu.model_name() == "Some CPU sse avx512_bf16"
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert not cpu.has_bfloat16()
    assert cpu.model_name() == "Some CPU sse avx512_bf16 AVX2"  # other compiled code than without the limit
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16")
    assert cpu.has_bfloat16()
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA")
    facts.write_text("model name\t: Some CPU\nflags\t\t: sse avx512f\n")
    assert not cpu.has_bfloat16()
    facts.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert cpu.has_bfloat16()
    facts.unlink()
    assert not cpu.has_bfloat16()
