"""What the exit code of `factflow` says. Scripts rely on it; a number never changes its meaning."""

from enum import IntEnum


class ExitCode(IntEnum):
    """One number for each way a command can end."""

    OK = 0
    """Done; for `wait` and `run`: the execution completed."""
    FAILED = 1
    """The execution ended failed, or the config is invalid."""
    USAGE = 2
    """The command line, a file or a value given is not right; nothing was asked of the server."""
    CANCELLED = 3
    """The execution ended cancelled."""
    TIMEOUT = 4
    """`--timeout` passed first, or the server took too long to answer."""
    UNREACHABLE = 5
    """No server answers, or it broke off."""
    NOT_FOUND = 6
    """The server does not know the id or key."""
    REFUSED = 7
    """The server understood and said no (4xx but 404)."""
    SERVER_ERROR = 8
    """The server failed (5xx), is unhealthy, or what answers is not a Factflow server."""
    EXECUTION_INTERRUPTED = 9
    """The execution was cut off by a stop of its server; it goes on when a server starts again."""
    NOT_WRITTEN = 10
    """The result could not be written: a full disk, a closed stdout. What was asked for is done."""
    DEGRADED = 11
    """The server works, but a part of it wants to be looked at."""
    INTERRUPTED = 130
    """Ctrl+C."""


_BY_STATUS = {
    "completed": ExitCode.OK,
    "failed": ExitCode.FAILED,
    "cancelled": ExitCode.CANCELLED,
    "interrupted": ExitCode.EXECUTION_INTERRUPTED,
}

FINAL_STATUSES = frozenset(_BY_STATUS)
"""The statuses an execution is not waited for any longer in."""


def for_execution(status: str) -> ExitCode:
    """Return the code for the status an execution ended in."""
    return _BY_STATUS.get(status, ExitCode.SERVER_ERROR)


def for_health(status: str) -> ExitCode:
    """Return the code for what the server says of itself."""
    known = {"healthy": ExitCode.OK, "degraded": ExitCode.DEGRADED}
    return known.get(status, ExitCode.SERVER_ERROR)


def for_http_status(status: int) -> ExitCode:
    """Return the code for an error answer (400 and above)."""
    if status == 404:
        return ExitCode.NOT_FOUND
    return ExitCode.SERVER_ERROR if status >= 500 else ExitCode.REFUSED
