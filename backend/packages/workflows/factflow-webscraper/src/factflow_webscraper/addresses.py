"""Addresses: nothing on the inside of a network is fetched unless the operator allows it.

The check is made on the address a connection is really opened to: names are resolved here, once, and
the connection goes to an address that was checked. A name that answers differently a moment later
(DNS rebinding) therefore gains nothing. Host header, SNI and certificate check keep the name.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable

import httpcore2

from factflow_protocols.errors import PermanentError, TransientError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]
SocketOption = (
    tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]
)

_CONNECT_SECONDS = 10.0
_EXTRA_REFUSED = (
    ipaddress.ip_network("168.63.129.16/32"),  # a cloud's metadata service on a public address
    ipaddress.ip_network("192.88.99.0/24"),
    ipaddress.ip_network("192.0.0.0/24"),
    ipaddress.ip_network("64:ff9b:1::/48"),
    ipaddress.ip_network("fec0::/10"),
    ipaddress.ip_network("100::/64"),
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


class AddressRefusedError(PermanentError):
    """The host is on a private, local or otherwise special network."""

    code = "address_refused"


def is_public(text: str) -> bool:
    """Tell whether an address is an ordinary one of the public Internet.

    IPv6 forms that carry an IPv4 address (mapped, compatible, 6to4, Teredo, NAT64) are judged by it.
    """
    address = ipaddress.ip_address(text.partition("%")[0])
    return all(_plainly_public(part) for part in (address, *_carried(address)))


def _plainly_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address) and (
        address in _NAT64 or address.ipv4_mapped or address.sixtofour or address.teredo
    ):
        return True  # judged by the address it carries
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not any(address in net for net in _EXTRA_REFUSED if net.version == address.version)
    )


def _carried(address: Address) -> Iterable[ipaddress.IPv4Address]:
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address in _NAT64 or address in _COMPATIBLE:
        yield ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)


async def system_resolver(host: str, port: int) -> list[str]:
    """Return the addresses the system knows for a name, best first. Raises `socket.gaierror`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class CheckedBackend(httpcore2.AsyncNetworkBackend):
    """Opens connections to checked addresses only.

    `connect_tcp` raises `AddressRefusedError` when a host has no public address (unless
    `allow_private`), `PermanentError` when the name does not exist, `TransientError` when it cannot
    be looked up now, and `httpcore2.ConnectError` or `ConnectTimeout` when nobody answers.
    """

    def __init__(
        self, *, allow_private: bool = False, resolver: Resolver = system_resolver
    ) -> None:
        self._allow_private = allow_private
        self._resolver = resolver
        self._backend = httpcore2.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        """Connect to the first checked address that answers."""
        addresses = self._checked(host, await self._resolve(host, port))
        limit = min(timeout or _CONNECT_SECONDS, _CONNECT_SECONDS)
        for position, address in enumerate(addresses, start=1):
            try:
                return await self._backend.connect_tcp(
                    address, port, limit, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if position == len(addresses):
                    raise
        raise httpcore2.ConnectError(f"{host} has no address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def _resolve(self, host: str, port: int) -> list[str]:
        try:
            return [str(ipaddress.ip_address(host))]
        except ValueError:
            pass
        try:
            return await self._resolver(host, port)
        except socket.gaierror as error:
            if error.errno in {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", error.errno)}:
                raise PermanentError(
                    f"the host {host!r} does not exist: its name has no address",
                    hint="check the spelling of the URL",
                ) from error
            raise TransientError(
                f"the host {host!r} cannot be looked up now: {error.strerror}",
                hint="check the name service of this machine",
            ) from error
        except (UnicodeError, OSError) as error:
            raise TransientError(f"the host {host!r} cannot be looked up now: {error}") from error

    def _checked(self, host: str, addresses: list[str]) -> list[str]:
        if self._allow_private:
            return addresses
        public = [address for address in addresses if is_public(address)]
        if addresses and not public:
            raise AddressRefusedError(
                f"the host {host!r} has the address {addresses[0]}, which is private, local or"
                " reserved; such addresses are not fetched",
                hint="start the server with --allow-private-networks if this is intended",
            )
        return public
