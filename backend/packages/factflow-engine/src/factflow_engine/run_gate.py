"""Who is handled beside whom: all messages of the process together, or one of them alone.

A message asks for its turn before anything of its handling runs, and ends it afterwards. One that asks to
run alone gets its turn when all others under way have ended; whoever comes meanwhile waits until nobody
wants to be alone any more. So while it runs no adapter is called for any other message of this process,
of whichever execution. What the gate cannot see is not waited for: a thread that outlived its time limit,
a task that ignored its cancellation, what an adapter started by itself.
"""

from __future__ import annotations

import asyncio
from collections import deque


class Turn:
    """The right to be handled now, until it is ended."""

    __slots__ = ("_gate", "alone")

    def __init__(self, gate: RunGate, *, alone: bool) -> None:
        self._gate: RunGate | None = gate
        self.alone = alone

    def end(self) -> None:
        """Give the turn back; once is enough, more changes nothing."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.ended(alone=self.alone)


class RunGate:
    """One per process. Those that want to be alone go one by one, in the order they came."""

    def __init__(self) -> None:
        self._together = 0
        self._alone = False
        self._loners: deque[asyncio.Future[None]] = deque()
        self._others: deque[asyncio.Future[None]] = deque()

    def enter_nowait(self, *, alone: bool) -> Turn | None:
        """Return a turn if there is one to be had at once."""
        if self._alone or self._loners or (alone and self._together):
            return None
        self._count(alone=alone)
        return Turn(self, alone=alone)

    async def enter(self, *, alone: bool) -> Turn:
        """Wait for a turn. Safe to cancel."""
        turn = self.enter_nowait(alone=alone)
        if turn is not None:
            return turn
        waiting = self._loners if alone else self._others
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                if waiter in waiting:
                    waiting.remove(waiter)
                self._pass_on()
            else:  # the turn had come, and nobody will take it
                self.ended(alone=alone)
            raise
        return Turn(self, alone=alone)

    def ended(self, *, alone: bool) -> None:
        """Count a turn's end, and let in whose turn it is; for `Turn`."""
        if alone:
            self._alone = False
        else:
            self._together -= 1
        self._pass_on()

    def _pass_on(self) -> None:
        if self._alone:
            return
        if self._loners:
            if not self._together:
                self._let_in(self._loners, alone=True)
            return
        while self._others:
            self._let_in(self._others, alone=False)

    def _let_in(self, waiting: deque[asyncio.Future[None]], *, alone: bool) -> None:
        waiter = waiting.popleft()
        if not waiter.done():  # it is when its task was cancelled a moment ago
            self._count(alone=alone)
            waiter.set_result(None)

    def _count(self, *, alone: bool) -> None:
        if alone:
            self._alone = True
        else:
            self._together += 1
