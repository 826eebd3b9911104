"""Promises about finding one message."""

from __future__ import annotations

from factflow_foundation.clock import Clock
from factflow_protocols.queue import MessagePlace, QueueProtocol
from factflow_testing.queue_rig import OTHER, SCOPE, QueueFixtures, Reopen, opened, take


class PlacePromises(QueueFixtures):
    """Whoever asks is told where a message stands, and nothing is changed by asking."""

    async def test_a_message_is_found_wherever_it_stands(
        self, queue: QueueProtocol, clock: Clock
    ) -> None:
        consumer = await opened(queue, ["a", "b", "c", "d"])
        first, second = await take(consumer), await take(consumer)
        await queue.settle(first)
        assert await queue.find_message(SCOPE, "a") == MessagePlace("in", "settled")
        held = MessagePlace("in", "in_flight", b"body of b")
        assert await queue.find_message(SCOPE, "b") == held
        assert await queue.find_message(SCOPE, "c") == MessagePlace("in", "ready", b"body of c")
        last = await queue.find_message(SCOPE, "d")
        assert last == MessagePlace("in", "ready", b"body of d", ahead=1)
        later = clock.now() + 60
        await queue.put_back(second, b"again", later)
        waiting = await queue.find_message(SCOPE, "b")
        assert waiting == MessagePlace("in", "delayed", b"again", not_before=later)

    async def test_a_message_is_found_among_more_than_fit_into_memory(
        self, queue: QueueProtocol
    ) -> None:
        names = [f"{number:05d}" for number in range(self.backlog)]
        await opened(queue, names)
        place = await queue.find_message(SCOPE, names[-1])
        assert place is not None
        assert (place.state, place.ahead) == ("ready", self.backlog - 1)

    async def test_an_unknown_message_has_no_place(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """Of another scope, of one that was deleted, or never announced; also after a restart."""
        await opened(queue, ["a"])
        assert await queue.find_message(SCOPE, "x") is None
        assert await queue.find_message(OTHER, "a") is None
        again = await reopen(clean=False)
        found = await again.find_message(SCOPE, "a")
        assert found is not None
        assert found.state == "ready"
        await again.delete(SCOPE)
        assert await again.find_message(SCOPE, "a") is None
