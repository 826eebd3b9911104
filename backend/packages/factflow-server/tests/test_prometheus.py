"""A scrape has every metric that the page promises, with what happened in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as open_metrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

PAGE = Path(__file__).parents[4] / "docs" / "guides" / "monitoring.md"
LABELS = ("component", "status", "route", "stage", "adapter", "outcome", "version", "le")


async def scrape(client: httpx2.AsyncClient, accept: str = "text/plain") -> httpx2.Response:
    answer = await client.get("http://127.0.0.1:8000/metrics", headers={"accept": accept})
    assert answer.status_code == 200, answer.text
    return answer


def families_of(text: str, parse: Any = text_string_to_metric_families) -> list[Metric]:
    return list(parse(text))


def samples(families: list[Metric]) -> dict[tuple[str, ...], float]:
    return {
        (
            sample.name,
            *(sample.labels[name] for name in LABELS if name in sample.labels),
        ): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
async def ended(client: httpx2.AsyncClient, numbers_yaml: str) -> str:
    """An execution of eight stage calls, one of which failed."""
    config_yaml = numbers_yaml.replace("upto: 2", "upto: 3")
    stored = (await client.post("/configs", json={"config_yaml": config_yaml})).json()
    started = (await client.post("/executions", json={"config_id": stored["id"]})).json()
    execution = str(started["execution_id"])
    await client.post(f"/executions/{execution}/wait", json={"timeout": 30})
    return execution


async def test_a_scrape_tells_what_was_done(client: httpx2.AsyncClient, ended: str) -> None:
    text = (await scrape(client)).text
    found = samples(families_of(text))
    assert found["factflow_messages_received_total",] == 6
    settled = "factflow_messages_settled_total"
    assert (found[settled, "numbers", "completed"], found[settled, "numbers", "failed"]) == (3, 1)
    assert found[settled, "squares", "completed"] == 2
    assert found["factflow_executions", "failed"] == 1
    assert found["factflow_executions_ended_total", "failed"] == 1
    assert found["factflow_component_health", "storage"] == 0
    stage = ("numbers", "square", "square")
    assert found["factflow_stage_duration_seconds_count", *stage] == 3
    assert found["factflow_stage_duration_seconds_bucket", *stage, "+Inf"] == 3
    assert 0 < found["factflow_stage_duration_seconds_sum", *stage] < 30
    edges = [
        value for key, value in found.items() if key[0].endswith("_bucket") and key[1:-1] == stage
    ]
    assert len(edges) == 13
    assert edges == sorted(edges), "buckets hold all that is shorter"
    assert ended not in text, "an execution leaves no series behind"


async def test_open_metrics_are_given_to_who_asks_for_them(
    client: httpx2.AsyncClient, ended: str
) -> None:
    answer = await scrape(client, "application/openmetrics-text; version=1.0.0")
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    found = samples(families_of(answer.text, open_metrics_families))
    assert found["factflow_messages_received_total",] == 6


async def test_the_page_and_a_scrape_name_the_same_metrics_and_labels(
    client: httpx2.AsyncClient, ended: str, gated_yaml: str, tmp_path: Path
) -> None:
    stored = (await client.post("/configs", json={"config_yaml": gated_yaml})).json()
    await client.post("/executions", json={"config_id": stored["id"]})
    served: dict[str, set[str]] = {}
    for family in families_of((await scrape(client)).text):
        kind = family.type
        name = f"{family.name}_total" if kind == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        served[name] = labels
    rows = re.findall(r"^\| `(factflow_\w+)` \| (.*?) \|", PAGE.read_text(), re.MULTILINE)
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == served
    (tmp_path / "open").touch()


async def test_a_web_page_of_another_origin_gets_no_numbers(client: httpx2.AsyncClient) -> None:
    headers = {"origin": "https://elsewhere.example"}
    answer = await client.get("http://127.0.0.1:8000/metrics", headers=headers)
    assert answer.json()["error_code"] == "origin_refused"
