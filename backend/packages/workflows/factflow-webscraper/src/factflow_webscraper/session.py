"""What the scraping adapters of one execution share: connections, pace and robots rules."""

from __future__ import annotations

from collections.abc import Callable

import httpx2

from factflow_protocols.errors import PermanentError
from factflow_protocols.pipeline import AdapterEnvironment
from factflow_webscraper.addresses import CheckedBackend, Resolver, system_resolver
from factflow_webscraper.connections import CheckedTransport
from factflow_webscraper.fetching import Fetched, Fetcher, FetchLimits, Visit, new_client
from factflow_webscraper.pacing import PaceLimits, Pacer, Timer
from factflow_webscraper.robots import MAX_ROBOTS_BYTES, RobotsCache, RobotsRules
from factflow_webscraper.urls import host_of

SHARED_KEY = "factflow_webscraper.session"
_ROBOTS_AGENT = "Factflow"

TransportFactory = Callable[[AdapterEnvironment], httpx2.AsyncBaseTransport]


def checked_transport(
    environment: AdapterEnvironment, resolver: Resolver = system_resolver
) -> httpx2.AsyncBaseTransport:
    """Return the transport used in earnest: real connections, to addresses that were checked."""
    return CheckedTransport(
        CheckedBackend(allow_private=environment.allow_private_networks, resolver=resolver)
    )


class ScrapeSession:
    """One client, one pacer and one robots cache; made by the first adapter, closed by the last."""

    def __init__(self, transport: httpx2.AsyncBaseTransport, timer: Timer | None = None) -> None:
        self._client = new_client(transport)
        self._users = 0
        self.pacer = Pacer(timer)
        self._fetcher = Fetcher(self._client, self.pacer)
        self.robots = RobotsCache(self._fetch_robots)

    @classmethod
    def join(
        cls,
        environment: AdapterEnvironment,
        *,
        transport: TransportFactory = checked_transport,
        timer: Timer | None = None,
    ) -> ScrapeSession:
        """Return the execution's session, made if need be; each `join` needs one `leave`."""
        session = environment.shared.get(SHARED_KEY)
        if not isinstance(session, cls):
            session = cls(transport(environment), timer)
            environment.shared[SHARED_KEY] = session
        session._users += 1
        return session

    async def leave(self, environment: AdapterEnvironment) -> None:
        """Give the session back; the last one closes the connections."""
        self._users -= 1
        if self._users == 0:
            if environment.shared.get(SHARED_KEY) is self:
                del environment.shared[SHARED_KEY]
            await self._client.aclose()

    async def fetch(
        self, url: str, limits: FetchLimits, pace: PaceLimits, *, respect_robots: bool = True
    ) -> Fetched:
        """Fetch a URL as `Fetcher.fetch` does, asking robots.txt first, for every redirect too."""
        visit = _AskRobots(self, limits.user_agent) if respect_robots else None
        return await self._fetcher.fetch(url, limits, pace, visit)

    async def ask_robots(self, url: str, user_agent: str) -> RobotsRules:
        """Check a URL against its site's rules and keep to their pace; raises as `RobotsCache`."""
        rules = await self.robots.check(url, user_agent)
        self.pacer.ask_delay(host_of(url), rules.crawl_delay(user_agent))
        return rules

    async def _fetch_robots(self, url: str) -> bytes | None:
        limits = FetchLimits(
            max_bytes=MAX_ROBOTS_BYTES + 1, cut=True, max_redirects=5, user_agent=_ROBOTS_AGENT
        )
        try:
            answer = await self._fetcher.fetch(url, limits, PaceLimits())
        except PermanentError:
            return None  # 4xx, endless redirects and the like: there are no rules (RFC 9309, 2.3.1)
        return answer.body


class _AskRobots(Visit):
    def __init__(self, session: ScrapeSession, user_agent: str) -> None:
        self._session = session
        self._user_agent = user_agent

    async def before(self, url: str) -> None:
        await self._session.ask_robots(url, self._user_agent)
