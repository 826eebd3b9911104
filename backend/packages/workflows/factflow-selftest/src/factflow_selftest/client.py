"""The few questions the self-test asks a server. Each may break off, as servers are killed meanwhile."""

from __future__ import annotations

from typing import Any

import httpx2

from factflow_selftest.server import SelftestError

ROWS = 5_000
"""Lineage rows in one answer."""
ANSWER_SECONDS = 60.0


class Client:
    """The API at one URL. Every method raises `httpx2.TransportError` when the server is gone."""

    def __init__(self, url: str) -> None:
        self._http = httpx2.Client(
            base_url=f"{url}/api/v1", timeout=ANSWER_SECONDS, trust_env=False
        )

    def create(self, config_yaml: str) -> str:
        """Store a pipeline and return its config's id."""
        return str(self._post("/configs", {"config_yaml": config_yaml})["id"])

    def run(self, config_id: str) -> str:
        """Start an execution and return its id."""
        return str(self._post(f"/configs/{config_id}/run", {})["execution_id"])

    def replay(self, execution_id: str, from_stage: str) -> str:
        """Start a replay and return its id."""
        answer = self._post(f"/executions/{execution_id}/replay", {"from_stage": from_stage})
        return str(answer["execution_id"])

    def executions(self) -> list[dict[str, Any]]:
        """Return all executions, newest first, without their details."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._get("/executions", limit=100, offset=len(found))
            found += page["executions"]
            if not page["executions"] or len(found) >= page["total"]:
                return found

    def execution(self, execution_id: str) -> dict[str, Any]:
        """Return an execution in full."""
        return self._get(f"/executions/{execution_id}")

    def rows(self, execution_id: str) -> list[dict[str, Any]]:
        """Return all lineage rows of an execution."""
        found: list[dict[str, Any]] = []
        while True:
            page = self._get("/lineage", execution_id=execution_id, limit=ROWS, offset=len(found))
            found += page["entries"]
            if not page["has_more"]:
                return found

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return _answer(self._http.get(path, params=query))

    def _post(self, path: str, body: Any) -> dict[str, Any]:
        return _answer(self._http.post(path, json=body))


def _answer(answer: httpx2.Response) -> dict[str, Any]:
    if not answer.is_success:
        raise SelftestError(f"the server answered {answer.status_code}: {answer.text}")
    body: dict[str, Any] = answer.json()
    return body
