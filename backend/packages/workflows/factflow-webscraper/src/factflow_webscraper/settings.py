"""Settings that every fetching adapter has."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from factflow_protocols.pipeline import AdapterConfigModel
from factflow_webscraper.fetching import FetchLimits
from factflow_webscraper.pacing import PaceLimits
from factflow_webscraper.robots import product_token

DEFAULT_USER_AGENT = "Factflow/0.1"


def _checked_agent(agent: str) -> str:
    if not agent.isascii() or not agent.isprintable() or not product_token(agent):
        raise ValueError(
            "user_agent is printable ASCII and begins with a name, such as"
            " 'ExampleBot/1.0 (+https://example.com/bot)'"
        )
    return agent


class FetchSettings(AdapterConfigModel):
    """How politely and how patiently to fetch."""

    timeout: float = Field(
        30.0, gt=0, le=3600, description="seconds for one page, redirects included"
    )
    max_bytes: int = Field(20 * 1024 * 1024, gt=0, description="largest page in bytes, as unpacked")
    follow_redirects: bool = True
    max_redirects: int = Field(10, ge=0, le=50)
    user_agent: Annotated[str, AfterValidator(_checked_agent)] = Field(
        DEFAULT_USER_AGENT, min_length=1, max_length=300
    )
    respect_robots: bool = Field(True, description="ask the site's robots.txt first")
    requests_per_second: float | None = Field(
        None, gt=0, description="fixed rate per host; without it the pace follows the answers"
    )
    max_concurrency_per_host: int = Field(4, ge=1, le=64)
    max_retry_after: float = Field(
        300.0, ge=0, description="longest pause in seconds that a Retry-After header can ask for"
    )
    max_crawl_delay: float = Field(
        30.0, ge=0, description="longest gap in seconds that robots.txt can ask for"
    )

    def fetch_limits(self, content_types: tuple[str, ...]) -> FetchLimits:
        """Return these settings as the fetcher takes them."""
        return FetchLimits(
            timeout=self.timeout,
            max_bytes=self.max_bytes,
            max_redirects=self.max_redirects,
            follow_redirects=self.follow_redirects,
            content_types=content_types,
            user_agent=self.user_agent,
        )

    def pace_limits(self) -> PaceLimits:
        """Return these settings as the pacer takes them."""
        return PaceLimits(
            max_concurrency=self.max_concurrency_per_host,
            requests_per_second=self.requests_per_second,
            max_pause=self.max_retry_after,
            max_crawl_delay=self.max_crawl_delay,
        )
