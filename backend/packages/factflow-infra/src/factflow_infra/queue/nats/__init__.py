"""NATS JetStream as a transport of queues."""

from factflow_infra.queue.nats.transport import NatsTransport

__all__ = ["NatsTransport"]
