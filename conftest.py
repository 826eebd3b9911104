"""What all tests have in common."""

from __future__ import annotations

from factflow_testing.postgres_schemas import drop_schemas


def pytest_sessionfinish() -> None:
    """Leave no database behind."""
    drop_schemas()
