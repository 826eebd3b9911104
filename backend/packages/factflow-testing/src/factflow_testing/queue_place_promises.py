"""Promises about finding one message."""

from __future__ import annotations

from factflow_protocols.queue import MessagePlace, QueueProtocol
from factflow_testing.queue_rig import OTHER, SCOPE, QueueFixtures, Reopen, opened, take


class PlacePromises(QueueFixtures):
    """Whoever asks is told where a message stands, and nothing is changed by asking."""

    async def test_a_message_has_a_place_until_its_scope_is_deleted(
        self, queue: QueueProtocol
    ) -> None:
        consumer = await opened(queue, ["a", "b", "c"])
        first, held = await take(consumer), await take(consumer)
        await queue.settle(first)
        assert await queue.find_message(SCOPE, "a") == MessagePlace("in", "settled")
        assert await queue.find_message(SCOPE, "b") == MessagePlace("in", "in_flight", held.body)
        waits = await queue.find_message(SCOPE, "c")
        assert waits is not None
        assert (waits.queue, waits.state) == ("in", "ready")

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
