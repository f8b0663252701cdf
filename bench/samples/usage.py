"""What processes have used so far."""

from __future__ import annotations

import os
import resource
from pathlib import Path


def of_children() -> float:
    """Seconds of CPU time that the processes took which this one has waited for, and those that they waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def of_process(pid: int) -> float:
    """Seconds of CPU time that a running process took, with the processes that it has waited for."""
    # After the name, which is in parentheses and may hold anything: fields 14 to 17 of proc(5) are the 12th to 15th.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def memory_of_process(pid: int) -> float:
    """MiB that a running process has in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
