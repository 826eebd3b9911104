"""What can be wrong with a request about configs and executions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from factflow_protocols.errors import FactflowError

HOLDERS_SHOWN = 10


class ConfigNotFoundError(FactflowError):
    """No stored config has this id."""

    code: ClassVar[str] = "config_not_found"

    def __init__(self, config_id: str) -> None:
        super().__init__(f"no config {config_id!r}", hint="factflow config list")


class ConfigInactiveError(FactflowError):
    """The config was deactivated; its executions stand, but no new one is started."""

    code: ClassVar[str] = "config_inactive"

    def __init__(self, config_id: str) -> None:
        super().__init__(
            f"config {config_id} was deleted and cannot be run",
            hint="factflow config list; replays of its executions are still possible",
        )


class ExecutionNotFoundError(FactflowError):
    """No execution has this id or tag."""

    code: ClassVar[str] = "execution_not_found"

    def __init__(self, id_or_tag: str) -> None:
        super().__init__(
            f"no execution has the id or tag {id_or_tag!r}", hint="factflow execution list"
        )


class ExecutionStateError(FactflowError):
    """The execution's status does not allow the wish; the message names the status."""

    code: ClassVar[str] = "execution_state"


class OwnedElsewhereError(ExecutionStateError):
    """Another server has the execution."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(
            f"execution {execution_id} is another server's",
            hint="nothing is to be done: that one goes on with it",
        )


class ExecutionHeldError(FactflowError):
    """Others still read what the execution stored; `holders` are their ids."""

    code: ClassVar[str] = "execution_held"

    def __init__(self, execution_id: str, holders: Sequence[str]) -> None:
        shown = ", ".join(holders[:HOLDERS_SHOWN])
        more = f" and {len(holders) - HOLDERS_SHOWN} more" if len(holders) > HOLDERS_SHOWN else ""
        super().__init__(
            f"execution {execution_id} is still needed by {shown}{more}: replays hold what they read "
            "until they have completed or are deleted",
            hint=f"factflow execution get {holders[0]}; complete it, or delete it first",
        )
        self.holders = list(holders)


class ExecutionDeletedError(FactflowError):
    """What is asked for was deleted, or is being deleted, on purpose."""

    code: ClassVar[str] = "execution_deleted"

    def __init__(self, message: str) -> None:
        super().__init__(message, hint="factflow execution list shows what is there")


class LaunchFailedError(FactflowError):
    """An execution was entered, and then something in its adapters kept it from starting."""

    code: ClassVar[str] = "launch_failed"

    def __init__(self, execution_id: str, error: Exception) -> None:
        super().__init__(
            f"execution {execution_id} could not be started: an adapter raised {type(error).__name__} "
            "when it was opened",
            hint="the server's log has the details",
        )


class ServerStoppingError(FactflowError):
    """The server is shutting down and starts nothing new."""

    code: ClassVar[str] = "server_stopping"

    def __init__(self) -> None:
        super().__init__("the server is stopping", hint="try again once it is back")


class TagTakenError(FactflowError):
    """Tags are unique, and this one names another execution."""

    code: ClassVar[str] = "tag_taken"

    def __init__(self, tag: str) -> None:
        super().__init__(
            f"the tag {tag!r} names another execution already",
            hint=f"choose another tag; factflow execution get {tag} shows its owner",
        )


class InitTooLargeError(FactflowError):
    """The init payload, the YAML's with what was laid over it, has more bytes than the server takes."""

    code: ClassVar[str] = "init_too_large"

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"the init payload has {size} bytes; the server takes up to {limit}",
            hint="store the data and have the init payload name it, or start the server with a larger "
            "FACTFLOW_MAX_INIT_BYTES",
        )


class IdempotencyKeyReusedError(FactflowError):
    """The idempotency key came with another request before."""

    code: ClassVar[str] = "idempotency_key_reused"

    def __init__(self, key: str, execution_id: str) -> None:
        super().__init__(
            f"the idempotency key {key!r} belongs to another request, which started execution "
            f"{execution_id}",
            hint="draw a new key for a new request; repeat a request unchanged",
        )


class LaunchRefusedError(FactflowError):
    """A draft asks for something no execution can have (a tag's form, an init without a target)."""

    code: ClassVar[str] = "invalid_request"


class RouteNotRunningError(FactflowError):
    """No execution and no config knows the route, or the execution asked for has not."""

    code: ClassVar[str] = "route_not_running"

    def __init__(self, route_id: str, execution: str | None) -> None:
        if execution is None:
            super().__init__(
                f"no execution and no config has a route {route_id!r}",
                hint="factflow pipeline list shows what runs; --execution ID looks at an older one",
            )
        else:
            super().__init__(
                f"execution {execution!r} has no route {route_id!r}",
                hint=f"factflow execution routes {execution}",
            )


def error_info(error: BaseException) -> dict[str, Any]:
    """Return what an execution's row says of what kept it from starting."""
    if isinstance(error, FactflowError):
        return {"type": error.code, "message": error.message}
    return {"type": type(error).__name__, "message": "the execution could not be started"}
