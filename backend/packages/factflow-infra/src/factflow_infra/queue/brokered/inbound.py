"""A message as a broker delivered it, to be acknowledged or given back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from factflow_foundation import logs

log = logs.logger(__name__)

LAP = "factflow-lap"
"""Header of a further attempt: how many went before."""
REPEAT = "factflow-repeat"
"""Header of what was published again."""
NOT_BEFORE = "factflow-not-before"
"""Header of what waits for its time (Unix milliseconds: no broker has to send a float as it is)."""
LEAVES = "factflow-leaves"
"""Header of what stands in a delay queue that we empty ourselves: when its wait there ends (likewise)."""


class Inbound(ABC):
    """`redelivered` is true when the broker handed it out before, to whomever."""

    __slots__ = ()

    message_id: str
    body: bytes
    redelivered: bool
    headers: Mapping[str, int]

    @abstractmethod
    async def acknowledge(self) -> None:
        """Have the broker forget it. Raises whatever the library raises."""

    @abstractmethod
    async def give_back(self) -> None:
        """Have the broker deliver it again. Raises whatever the library raises."""


async def acknowledge(message: Inbound | None, *, requeue: bool = False) -> None:
    """Tell the broker that a message is done with, or is to be delivered again.

    On a connection that ended there is nothing to tell: the message comes again by itself.
    """
    if message is None:
        return
    try:
        if requeue:
            await message.give_back()
        else:
            await message.acknowledge()
    except Exception as error:  # noqa: BLE001 - the libraries have no one error for a connection that ended
        log.info("not acknowledged", reason=str(error) or repr(error))
