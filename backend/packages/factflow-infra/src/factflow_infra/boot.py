"""Which run of the machine this is: what was in memory only is gone when it is another one."""

from __future__ import annotations

import subprocess
from pathlib import Path

_LINUX = Path("/proc/sys/kernel/random/boot_id")
_MACOS = ("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")


def boot_id() -> str | None:
    """Return an id that changes whenever the machine starts anew, None where there is no telling.

    Linux names it in `/proc` (random(4)), macOS by `sysctl`. Containers have the id of their host.
    """
    try:
        return _LINUX.read_text().strip() or None
    except OSError:
        pass
    try:
        done = subprocess.run(_MACOS, capture_output=True, text=True, timeout=5, check=True)  # noqa: S603 - a fixed command
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
