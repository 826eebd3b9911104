"""Nothing on the inside of a network is reached, however its address is dressed up."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from factflow_protocols.errors import PermanentError, TransientError
from factflow_protocols.pipeline import AdapterEnvironment
from factflow_webscraper.addresses import AddressRefusedError, CheckedBackend, is_public
from factflow_webscraper.fetching import FetchLimits
from factflow_webscraper.pacing import PaceLimits
from factflow_webscraper.session import ScrapeSession, checked_transport

PRIVATE = """
    127.0.0.1 127.255.0.1 10.0.0.1 172.16.3.4 192.168.1.1 169.254.169.254
    100.64.0.1 0.0.0.0 100.100.100.200 168.63.129.16 192.0.2.1 198.18.0.1
    224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 fe80::1
    fd00:ec2::254 ff02::1 ::ffff:127.0.0.1 ::ffff:10.1.2.3 ::7f00:1 64:ff9b::7f00:1
    64:ff9b:1::1 2002:7f00:1:: 2001:db8::1 fec0::1 2001:0:4136:e378:8000:63bf:80ff:fffe
""".split()  # noqa: SIM905 - a list of thirty strings hides its members
PUBLIC = ["1.1.1.1", "93.184.215.14", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]


@pytest.mark.parametrize("address", PRIVATE)
def test_special_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_ordinary_addresses_are_public(address: str) -> None:
    assert is_public(address)


class _Names:
    """A resolver that gives its answers in turn."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def _fetch(url: str, names: _Names, *, allow: bool) -> Any:
    environment = AdapterEnvironment("e", "r", "s", allow_private_networks=allow)
    session = ScrapeSession.join(
        environment, transport=lambda given: checked_transport(given, names)
    )
    try:
        limits = FetchLimits(timeout=10)
        return await session.fetch(url, limits, PaceLimits(), respect_robots=False)
    finally:
        await session.leave(environment)


async def test_a_private_address_is_refused_and_never_connected_to(server: Any) -> None:
    server.add("/", "secret")
    names = _Names(["127.0.0.1"])
    for host in (f"127.0.0.1:{server.port}", f"inside.example:{server.port}"):
        with pytest.raises(AddressRefusedError, match=r"private.*not fetched") as caught:
            await _fetch(f"http://{host}/", names, allow=False)
        assert "--allow-private-networks" in caught.value.hint
    assert server.requests == []


async def test_the_connection_goes_to_the_address_that_was_checked(server: Any) -> None:
    """A second answer of the name service, as in DNS rebinding, is never asked for."""
    server.add("/", "<p>hello")
    names = _Names(["127.0.0.1"], ["192.0.2.1"])
    answer = await _fetch(f"http://docs.example:{server.port}/", names, allow=True)
    assert answer.body == b"<p>hello"
    assert names.asked == ["docs.example"]
    assert server.requests[0][1]["host"] == f"docs.example:{server.port}"


async def test_tls_is_told_the_name_not_the_address(server: Any) -> None:
    with pytest.raises(TransientError):
        await _fetch(f"https://docs.example:{server.port}/", _Names(["127.0.0.1"]), allow=True)
    assert b"docs.example" in server.first_bytes[0]


async def test_a_redirect_to_a_private_address_is_refused(server: Any) -> None:
    """Only the first host of the chain is let through here, as a public one would be."""
    server.add("/", status=302, headers={"Location": "http://inside.example/latest/meta-data"})

    class _FirstHostOnly(CheckedBackend):
        def _checked(self, host: str, addresses: list[str]) -> list[str]:
            return addresses if host == "public.example" else super()._checked(host, addresses)

    from factflow_webscraper.connections import CheckedTransport

    names = _Names(["127.0.0.1"], ["169.254.169.254"])
    environment = AdapterEnvironment("e", "r", "s")
    backend = _FirstHostOnly(resolver=names)
    session = ScrapeSession.join(environment, transport=lambda _: CheckedTransport(backend))
    try:
        with pytest.raises(AddressRefusedError, match=r"169\.254\.169\.254"):
            await session.fetch(
                f"http://public.example:{server.port}/",
                FetchLimits(),
                PaceLimits(),
                respect_robots=False,
            )
    finally:
        await session.leave(environment)


async def test_of_mixed_answers_only_the_public_ones_are_used() -> None:
    backend = CheckedBackend()
    assert backend._checked("mixed.example", ["10.0.0.1", "1.1.1.1"]) == ["1.1.1.1"]


async def test_a_dead_address_gives_way_to_the_next(server: Any) -> None:
    server.add("/", "here")
    names = _Names(["127.9.9.9", "127.0.0.1"])
    answer = await _fetch(f"http://two.example:{server.port}/", names, allow=True)
    assert answer.body == b"here"


@pytest.mark.parametrize(
    ("number", "kind"),
    [(socket.EAI_NONAME, PermanentError), (socket.EAI_AGAIN, TransientError)],
)
async def test_an_unknown_name_is_final_and_a_silent_name_service_is_not(
    number: int, kind: type[Exception]
) -> None:
    async def resolver(host: str, port: int) -> list[str]:
        raise socket.gaierror(number, "no")

    with pytest.raises(kind, match=r"nowhere\.example"):
        await CheckedBackend(resolver=resolver).connect_tcp("nowhere.example", 80)
