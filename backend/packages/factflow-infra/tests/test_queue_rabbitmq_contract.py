"""RabbitMQ queues keep what every queue has to keep, with a ledger in either database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_infra.database import sqlite_engine
from factflow_infra.queue.brokered import BrokeredQueue
from factflow_protocols.queue import QueueScope
from factflow_testing.broker_service import amqp_url, postgres_engine
from factflow_testing.queue_contract import QueueContract, Reopen
from factflow_testing.queue_member_promises import Another, Kill, MemberPromises
from factflow_testing.queue_rig import OTHER, SCOPE
from factflow_testing.rabbit_rig import RabbitRig


class TestRabbitQueue(QueueContract):
    backlog = 400
    volume = 1_000

    @pytest.fixture
    async def ledger(self, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
        engine = sqlite_engine(tmp_path / "ledger.db", durability="fsync")
        yield engine
        await engine.dispose()

    @pytest.fixture
    async def rig(self, ledger: AsyncEngine) -> AsyncIterator[RabbitRig]:
        rig = RabbitRig(amqp_url(), ledger, [SCOPE, OTHER, QueueScope(SCOPE.execution_id, 2)])
        await rig.make()
        yield rig
        await rig.close()

    @pytest.fixture
    def queue(self, rig: RabbitRig) -> BrokeredQueue:
        return rig.queue

    @pytest.fixture
    def reopen(self, rig: RabbitRig) -> Reopen:
        return rig.reopen


class TestRabbitQueueOnPostgres(TestRabbitQueue, MemberPromises):
    """The same with the ledger in PostgreSQL, which several processes can share."""

    volume = 300

    @pytest.fixture
    async def ledger(self) -> AsyncIterator[AsyncEngine]:
        async with postgres_engine() as engine:
            yield engine

    @pytest.fixture
    def another(self, rig: RabbitRig) -> Another:
        return rig.make

    @pytest.fixture
    def kill(self, rig: RabbitRig) -> Kill:
        return rig.kill
