"""Timing and memory of one row, and how this process is set up for it. Knows nothing of any peer."""

import ctypes.util
import os
import resource
import sys
import time
from pathlib import Path

TCMALLOC = "tcmalloc_minimal"
PRELOAD_TRIED = "BENCH_PRELOAD_TRIED"


def restart_with_tcmalloc():
    """Starts this program again with tcmalloc preloaded, where the library is installed.

    Returns without doing anything when it is not, or when this already is the second start.
    """
    library = ctypes.util.find_library(TCMALLOC)
    if library is None or PRELOAD_TRIED in os.environ:
        return
    preload = [library, *os.environ.get("LD_PRELOAD", "").split()]
    environment = os.environ | {"LD_PRELOAD": " ".join(preload), PRELOAD_TRIED: "1"}
    os.execve(sys.executable, [sys.executable, *sys.argv], environment)


def tcmalloc_is_loaded():
    """Whether this process allocates with tcmalloc."""
    maps = Path("/proc/self/maps")
    return maps.exists() and TCMALLOC in maps.read_text()


def stdout_to_stderr():
    """Sends what libraries print, native ones too, to stderr; returns the real stdout as a file."""
    real_stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return real_stdout


def seconds_per_repeat(work, repeats):
    """Runs `work` once to warm up, then `repeats` times; the seconds of each of the latter."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return seconds


def peak_bytes():
    """The largest resident set this process ever had: VmHWM, where there is no /proc ru_maxrss."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit_bytes = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
