"""The facts of the machine that figures depend on."""

from __future__ import annotations

import os
import platform
import sqlite3
import time
from importlib.metadata import version
from pathlib import Path


def facts(folder: Path) -> dict[str, str | int | float]:
    """Return what a reader of figures asks first; `folder` is where the files are made."""
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        "processor": _from_proc("cpuinfo", "model name"),
        "memory": _from_proc("meminfo", "MemTotal"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "filesystem": filesystem(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "factflow": version("factflow-server"),
        "load": round(os.getloadavg()[0], 2),
    }


def filesystem(folder: Path) -> str:
    """Return the type of the file system a folder lies on, as `ext4`."""
    try:
        mounts = Path("/proc/mounts").read_text().splitlines()
    except OSError:
        return "unknown"
    best, kind = "", "unknown"
    for line in mounts:
        point, name = line.split()[1:3]
        if len(point) >= len(best) and folder.resolve().is_relative_to(point):
            best, kind = point, name
    return kind


def _from_proc(name: str, field: str) -> str:
    try:
        lines = (Path("/proc") / name).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "?")
