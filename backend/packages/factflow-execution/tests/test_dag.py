from __future__ import annotations

import pytest

from factflow_engine.config.issues import ConfigurationError
from factflow_execution.dag import dag_of
from factflow_execution.snapshot import snapshot_config

CYCLE = """\
version: "1.0"
routes:
  crawl:
    name: Crawler
    inbound: {queue: pages}
    adapters: [{type: fetch}, {type: fetch, stage: again}]
    outbound: text
  clean:
    inbound: {queue: text}
    adapters: [{type: strip}]
    outbound: pages
init_message: {route: crawl}
"""


def test_nodes_are_routes_in_the_order_of_the_yaml_and_edges_are_queues() -> None:
    dag = dag_of(snapshot_config(CYCLE))
    assert dag.init_queue == "pages"
    assert [(node.route_id, node.name, node.adapters) for node in dag.nodes] == [
        ("crawl", "Crawler", ["fetch", "again"]),
        ("clean", "clean", ["strip"]),
    ]
    assert [(edge.from_route, edge.to_route, edge.queue) for edge in dag.edges] == [
        ("crawl", "clean", "text"),
        ("clean", "crawl", "pages"),
    ]


def test_a_pipeline_without_init_message_has_no_init_queue() -> None:
    assert (
        dag_of(snapshot_config(CYCLE.replace("init_message: {route: crawl}\n", ""))).init_queue
        is None
    )


def test_a_snapshot_that_is_no_pipeline_is_an_error() -> None:
    with pytest.raises(ConfigurationError):
        snapshot_config("hello")
