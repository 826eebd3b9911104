"""Queues in a broker, with a ledger in SQL beside them."""

from factflow_infra.queue.brokered.queue import BrokeredQueue
from factflow_infra.queue.brokered.transport import Transport

__all__ = ["BrokeredQueue", "Transport"]
