"""What the machine has to offer: processors and memory, as far as this process may use them."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP_FILES = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),  # version 2
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),  # version 1
)


def processor_count() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    for limit, usage in _CGROUP_FILES:
        try:
            allowed = Path(limit).read_text().strip()
            if allowed != "max" and int(allowed) < 1 << 60:
                return max(0, int(allowed) - int(Path(usage).read_text()))
        except (OSError, ValueError):
            continue
    return None
