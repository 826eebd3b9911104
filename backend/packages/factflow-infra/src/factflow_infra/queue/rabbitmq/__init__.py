"""RabbitMQ as a transport of queues."""

from factflow_infra.queue.rabbitmq.transport import RabbitTransport

__all__ = ["RabbitTransport"]
