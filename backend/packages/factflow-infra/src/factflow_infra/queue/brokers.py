"""Which broker a URL means. Client libraries are imported only for the one that is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factflow_protocols.errors import QueueError

if TYPE_CHECKING:
    from factflow_infra.queue.brokered import Transport

KINDS = {"amqp": "rabbitmq", "amqps": "rabbitmq", "nats": "nats", "tls": "nats"}
"""What the schemes of URLs mean."""


def broker_kind(url: str) -> str:
    """Return what the broker at a URL is called. Raises `QueueError` for a URL that names none."""
    scheme = url.partition("://")[0]
    if scheme not in KINDS:
        raise QueueError(
            "no broker is reached by that URL",
            hint=f"it begins with {', '.join(f'{one}://' for one in KINDS)}",
        )
    return KINDS[scheme]


def transport_for(url: str) -> Transport:
    """Return a connection, not made yet, to the broker at a URL. Raises `QueueError` for one that means none,
    or says what the broker's kind does not know."""
    kind = broker_kind(url)
    if kind == "nats":
        from factflow_infra.queue.nats import NatsTransport

        return NatsTransport(url)
    from factflow_infra.queue.rabbitmq import RabbitTransport

    return RabbitTransport(url)
