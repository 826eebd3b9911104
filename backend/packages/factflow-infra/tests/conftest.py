"""An S3 server for the tests that need one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from factflow_testing.s3_server import S3Server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """A server whose buckets are empty when they are made."""
    with S3Server() as server:
        yield server
