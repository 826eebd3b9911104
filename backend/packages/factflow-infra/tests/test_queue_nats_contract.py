"""NATS queues keep what every queue has to keep, with a ledger in either database."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from factflow_infra.database import sqlite_engine
from factflow_infra.queue.brokered import BrokeredQueue
from factflow_protocols.queue import QueueScope
from factflow_testing.broker_service import nats_url, postgres_engine
from factflow_testing.nats_rig import NatsRig
from factflow_testing.queue_contract import QueueContract, Reopen
from factflow_testing.queue_member_promises import Another, Kill, MemberPromises
from factflow_testing.queue_rig import OTHER, SCOPE


class TestNatsQueue(QueueContract):
    backlog = 400
    volume = 1_000
    keeps_order_over_a_kill = (
        False  # what was in hand comes again when its time to be acknowledged is over
    )

    @pytest.fixture
    async def ledger(self, tmp_path: Path) -> AsyncIterator[AsyncEngine]:
        engine = sqlite_engine(tmp_path / "ledger.db", durability="fsync")
        yield engine
        await engine.dispose()

    @pytest.fixture
    async def rig(self, ledger: AsyncEngine) -> AsyncIterator[NatsRig]:
        rig = NatsRig(nats_url(), ledger, [SCOPE, OTHER, QueueScope(SCOPE.execution_id, 2)])
        await rig.make()
        yield rig
        await rig.close()

    @pytest.fixture
    def queue(self, rig: NatsRig) -> BrokeredQueue:
        return rig.queue

    @pytest.fixture
    def reopen(self, rig: NatsRig) -> Reopen:
        return rig.reopen


class TestNatsQueueOnPostgres(TestNatsQueue, MemberPromises):
    """The same with the ledger in PostgreSQL, which several processes can share."""

    volume = 300

    @pytest.fixture
    async def ledger(self) -> AsyncIterator[AsyncEngine]:
        async with postgres_engine() as engine:
            yield engine

    @pytest.fixture
    def another(self, rig: NatsRig) -> Another:
        return rig.make

    @pytest.fixture
    def kill(self, rig: NatsRig) -> Kill:
        return rig.kill
