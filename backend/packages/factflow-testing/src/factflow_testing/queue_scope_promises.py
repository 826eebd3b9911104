"""Promises about scopes: apart, drained, deleted, under load."""

from __future__ import annotations

import asyncio

import pytest

from factflow_protocols.errors import FactflowError
from factflow_protocols.queue import (
    Progress,
    QueueProtocol,
    QueueScope,
)
from factflow_testing.queue_rig import (
    OTHER,
    PATIENCE_SECONDS,
    SCOPE,
    QueueFixtures,
    Reopen,
    drained,
    message,
    opened,
    settle_all,
    take,
)


class ScopePromises(QueueFixtures):
    """Counts are right, and executions never meet."""

    async def test_two_scopes_never_meet(self, queue: QueueProtocol) -> None:
        """Same queue names, same message ids: other executions, and other generations."""
        scopes = [SCOPE, OTHER, QueueScope(SCOPE.execution_id, 2)]
        for scope in scopes:
            await queue.open(scope)
            await queue.publish(scope, [message("a")])
        for scope in scopes:
            consumer = queue.subscribe(scope, "in")
            delivery = await take(consumer)
            assert delivery.scope == scope
            assert consumer.take_nowait() is None
            assert await queue.progress(scope) == Progress(1, 0, 0)
            await queue.settle(delivery)
            assert await drained(queue, scope) == Progress(1, 1, 0)

    async def test_a_scope_is_found_once_it_was_opened_and_until_it_is_deleted(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        assert await queue.find(SCOPE) is None
        await opened(queue, ["a", "b"])
        assert await queue.find(SCOPE) == Progress(2, 0, 0)
        assert await queue.find(QueueScope(SCOPE.execution_id, 2)) is None
        queue = await reopen(clean=False)
        assert await queue.find(SCOPE) == Progress(2, 0, 0)
        assert SCOPE in await queue.scopes()
        await queue.delete(SCOPE)
        assert await queue.find(SCOPE) is None
        assert SCOPE not in await queue.scopes()

    async def test_scope_without_messages_is_drained(self, queue: QueueProtocol) -> None:
        assert await queue.open(SCOPE) == Progress(0, 0, 0)
        assert await drained(queue) == Progress(0, 0, 0)

    async def test_publisher_is_one_outstanding_item(self, queue: QueueProtocol) -> None:
        await queue.open(SCOPE, publisher=True)
        assert await queue.open(SCOPE, publisher=True) == Progress(1, 0, 0)
        consumer = await opened(queue, ["a"])
        waiting = asyncio.create_task(queue.wait_drained(SCOPE))
        await settle_all(queue, consumer, 1)
        assert not waiting.done()
        await queue.end_publishing(SCOPE)
        await queue.end_publishing(SCOPE)
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await waiting == Progress(2, 2, 0)
        assert await queue.open(SCOPE, publisher=True) == Progress(2, 2, 0)

    async def test_publisher_and_its_cursor_survive(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        await queue.open(SCOPE, publisher=True)
        assert await queue.publisher_cursor(SCOPE) == 0
        await queue.publish(SCOPE, [message("a"), message("b")], cursor=2)
        again = await reopen(clean=False)
        assert await again.open(SCOPE, publisher=True) == Progress(3, 0, 0)
        assert await again.publisher_cursor(SCOPE) == 2
        await again.end_publishing(SCOPE)
        once_more = await reopen(clean=False)
        assert await once_more.open(SCOPE, publisher=True) == Progress(3, 1, 0)

    async def test_deleted_scope_leaves_nothing_behind(
        self, queue: QueueProtocol, reopen: Reopen
    ) -> None:
        """Late acts of its handlers do not bring it back; the same name can start afresh."""
        consumer = await opened(queue, ["a", "b", "c"])
        delivery = await take(consumer)
        waiting = asyncio.create_task(queue.subscribe(SCOPE, "empty").take())
        await asyncio.sleep(0)
        await queue.delete(SCOPE)
        await queue.delete(SCOPE)
        await queue.settle(delivery, children=[message("stray")])
        await queue.put_back(delivery, b"", 0.0)
        await queue.release(delivery)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert not queue.depths(SCOPE)
        assert await queue.progress(SCOPE) == Progress(0, 0, 0)
        again = await reopen(clean=False)
        assert await again.open(SCOPE) == Progress(0, 0, 0)
        assert (await take(await opened(again, ["a"]))).repeat is False

    async def test_cancelled_caller_leaves_the_act_done_or_not_done(
        self, queue: QueueProtocol
    ) -> None:
        """Publish or settle again afterwards, and the counts come out right."""
        consumer = await opened(queue)
        for number in range(40):
            name = str(number)
            publishing = asyncio.create_task(queue.publish(SCOPE, [message(name)]))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            await queue.publish(SCOPE, [message(name)])
            delivery = await take(consumer)
            children = [message(f"{name}-child", "out")]
            settling = asyncio.create_task(queue.settle(delivery, children=children))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            settling.cancel()
            await asyncio.gather(settling, return_exceptions=True)
            await queue.settle(delivery, children=children)
        assert await queue.progress(SCOPE) == Progress(80, 40, 0)
        await settle_all(queue, queue.subscribe(SCOPE, "out"), 40)
        assert await drained(queue) == Progress(80, 80, 0)

    async def test_large_volume_passes_in_bounded_time(self, queue: QueueProtocol) -> None:
        """A bound that only a queue with a commit, a wait or a search per message would miss."""
        consumer = await opened(queue)
        unpublished = iter(range(self.volume))
        taken = 0

        async def publish() -> None:
            for number in unpublished:
                await queue.publish(SCOPE, [message(str(number))])

        async def work() -> None:
            nonlocal taken
            while taken < self.volume:
                taken += 1
                await queue.settle(await consumer.take())

        async with asyncio.timeout(self.volume_seconds):
            await asyncio.gather(*(publish() for _ in range(100)), *(work() for _ in range(100)))
            assert await queue.wait_drained(SCOPE) == Progress(self.volume, self.volume, 0)

    async def test_closed_queue_refuses_in_words(self, queue: QueueProtocol) -> None:
        await opened(queue)
        await queue.close()
        await queue.close()
        with pytest.raises(FactflowError, match="closed"):
            await queue.publish(SCOPE, [message("a")])
