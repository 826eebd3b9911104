"""Queues in RabbitMQ, with a ledger in SQL beside them."""

from factflow_infra.queue.rabbitmq.queue import RabbitQueue

__all__ = ["RabbitQueue"]
