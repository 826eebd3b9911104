"""Look-ups over routes, stages and queues."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factflow_engine.config.graph import Edge, PipelineGraph, cycles, reachable
from factflow_engine.config.models import PipelineGlobalConfig


def graph(**routes: tuple[str, list[str], str | None]) -> PipelineGraph:
    """Return the graph of routes given as (inbound queue, stages, outbound queue)."""
    return PipelineGraph(
        PipelineGlobalConfig.model_validate(
            {
                "version": "1.0",
                "routes": {
                    route: {
                        "inbound": {"queue": queue},
                        "adapters": [{"type": "echo", "stage": stage} for stage in stages],
                        "outbound": outbound,
                    }
                    for route, (queue, stages, outbound) in routes.items()
                },
            }
        )
    )


CRAWL = {
    "crawl": ("pages", ["fetch", "store"], "texts"),
    "convert": ("texts", ["convert", "store"], "done"),
    "archive": ("done", ["pack"], None),
    "alone": ("other", ["look"], "gone"),
}


def test_queues_lead_to_their_consumer() -> None:
    found = graph(**CRAWL)
    assert found.consumer("texts") == "convert"
    assert found.consumer("nobody") is None
    assert found.outbound("crawl") == "texts"
    assert found.outbound("archive") is None
    assert found.edges() == [Edge("crawl", "convert", "texts"), Edge("convert", "archive", "done")]


def test_stages_follow_one_another() -> None:
    found = graph(**CRAWL)
    assert [stage.stage_name for stage in found.stages("crawl")] == ["fetch", "store"]
    assert found.stage_index("crawl", "store") == 1
    assert found.next_stage("crawl", "fetch") == "store"
    assert found.next_stage("crawl", "store") is None
    assert found.stage("crawl", "store").type == "echo"
    for call in (found.stage_index, found.next_stage, found.stage):
        with pytest.raises(KeyError):
            call("crawl", "convert")
    with pytest.raises(KeyError):
        found.route("nowhere")


def test_a_stage_name_resolves_to_all_it_can_mean() -> None:
    found = graph(**CRAWL)
    assert found.resolve_stage("fetch") == [("crawl", "fetch")]
    assert found.resolve_stage("store") == [("crawl", "store"), ("convert", "store")]
    assert found.resolve_stage("convert/store") == [("convert", "store")]
    for unknown in ("nothing", "crawl/convert", "nowhere/store", "/store", "crawl/", ""):
        assert found.resolve_stage(unknown) == []


def test_reachable_routes_include_the_start_and_end_at_cycles() -> None:
    found = graph(
        a=("1", ["x"], "2"), b=("2", ["x"], "1"), c=("3", ["x"], "1"), d=("4", ["x"], None)
    )
    assert found.reachable_from("a") == {"a", "b"}
    assert found.reachable_from("c") == {"a", "b", "c"}
    assert found.reachable_from("d") == {"d"}
    with pytest.raises(KeyError):
        found.reachable_from("e")


def test_contradictions_are_refused() -> None:
    with pytest.raises(ValueError, match="'a' and 'b'"):
        graph(a=("q", ["x"], None), b=("q", ["x"], None))
    with pytest.raises(ValueError, match="two stages"):
        graph(a=("q", ["x", "x"], None))


@given(st.dictionaries(st.integers(0, 12), st.integers(0, 12)))
def test_a_node_is_on_a_cycle_exactly_when_it_comes_back_to_itself(
    successor: dict[int, int],
) -> None:
    """Against the definition, for all small functional graphs; no cycle is found twice."""
    named = {str(node): str(after) for node, after in successor.items()}
    found = cycles(named)
    followers = {node: [after] for node, after in named.items()}
    returning = {node for node, after in named.items() if node in reachable([after], followers)}
    listed = [node for cycle in found for node in cycle]
    assert sorted(listed) == sorted(returning)
    for cycle in found:
        steps = zip(cycle, [*cycle[1:], cycle[0]], strict=True)
        assert all(named[node] == after for node, after in steps)
