"""What the machine has to offer, as far as this process may use it: processors, their fast kernels, memory."""

from __future__ import annotations

import os
from pathlib import Path

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_CPU_INFO = Path("/proc/cpuinfo")  # Linux
_INT8_FLAGS = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
_CGROUPS = (  # folder, its files for limit and usage, and in its memory.stat the part of the usage that is file cache
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current", "inactive_file"),  # version 2
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),  # 1
)


def processor_count() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def multiplies_int8() -> bool | None:
    """Return whether the processor has instructions for dot products of 8-bit numbers; None where nothing tells.

    x86: AVX-VNNI, AVX-512 VNNI or AMX; ARM: DotProd or I8MM. Without them int8 networks need about as long as float32.
    """
    try:
        lines = _CPU_INFO.read_text().splitlines()
    except OSError:
        return None
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith(("flags", "Features"))), None)
    return None if flags is None else not _INT8_FLAGS.isdisjoint(flags)


def prefer_onednn() -> None:
    """Let TensorFlow use oneDNN's kernels on any x86 processor, unless the user has set ``TF_ENABLE_ONEDNN_OPTS``.

    To be called before TensorFlow is imported. By itself it uses them only where the processor has AVX-512 VNNI or AMX;
    without either, training is 1.2 to 1.6 times as fast with them (docs/results.md). Results differ in the last digits.
    """
    os.environ.setdefault(ONEDNN, "1")


def available_memory() -> int:
    """Return the bytes of memory that can still be taken, a container's limit included; 4 GiB where nothing tells."""
    amounts = [amount for amount in (_system_memory(), _cgroup_memory()) if amount is not None]
    return min(amounts, default=4 << 30)


def _system_memory() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:  # macOS: all of it, where nothing tells how much is free
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def _cgroup_memory() -> int | None:
    for folder, limit, usage, reclaimable in _CGROUPS:
        try:
            allowed = (folder / limit).read_text().strip()
            if allowed == "max" or int(allowed) >= 1 << 60:
                continue
            used = int((folder / usage).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            # Files that were read count as used until somebody wants the memory: then the kernel gives it back.
            return max(0, int(allowed) - max(0, used - int(statistics.get(reclaimable, 0))))
        except (OSError, ValueError):
            continue
    return None
