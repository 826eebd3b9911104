"""What keeps a route from taking messages, in sentences for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from factflow_cli.values import moment

Row = Mapping[str, Any]


def held_by(route: Row) -> list[str]:
    """Return a sentence for everything that holds a route, its pause first."""
    pause = route.get("pause")
    told = [_pause(pause)] if isinstance(pause, Mapping) else []
    return [*told, *held_by_itself(route)]


def held_by_itself(route: Row) -> list[str]:
    """Return the same without its pause, which nobody but people began."""
    told = []
    back = route.get("held_back")
    if isinstance(back, Mapping):
        told.append(
            f"held back by {back.get('route')}: {back.get('queued')} messages wait there, "
            f"more than its max_queued of {back.get('max_queued')}"
        )
    breakers = route.get("breakers")
    found = breakers if isinstance(breakers, list) else []
    told += [_breaker(breaker) for breaker in found if isinstance(breaker, Mapping)]
    if route.get("holding"):
        told.append(f"waits: {route['holding']}")
    return told


def _pause(pause: Row) -> str:
    who = f" by {pause['paused_by']}" if pause.get("paused_by") else ""
    until = f" until {moment(pause['until'])}" if pause.get("until") else ""
    why = f": {pause['reason']}" if pause.get("reason") else ""
    return f"paused{who} since {moment(pause.get('paused_at'))}{until}{why}"


def _breaker(breaker: Row) -> str:
    stage = f"the breaker of stage {breaker.get('stage')}"
    why = f"after {breaker.get('failures')} failures in a row: {breaker.get('last_error')}"
    if breaker.get("state") == "half_open":
        return f"{stage} lets one message try, {why}"
    return f"{stage} is open, the next try is at {moment(breaker.get('probe_at'))}, {why}"
