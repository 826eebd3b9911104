"""Graphs as text: a tree that copes with everything, Mermaid and DOT that survive hostile names."""

from __future__ import annotations

import re

import pytest

from factflow_execution import dag_text
from factflow_execution.dag import Dag, DagEdge, DagNode, dag_of
from factflow_execution.snapshot import snapshot_config

TWO_SOURCES = """\
version: "1.0"
routes:
  crawl:
    inbound: {queue: pages}
    adapters: [{type: fetch}, {type: parse}]
    outbound: text
    error_handling: {dead_letter_queue: lost}
  upload:
    inbound: {queue: files}
    adapters: [{type: read}]
    outbound: text
  clean:
    inbound: {queue: text}
    adapters: [{type: strip}]
    outbound: pages
  rescue:
    inbound: {queue: lost}
    adapters: [{type: note}]
  again:
    inbound: {queue: self}
    adapters: [{type: spin}]
    outbound: self
init_message: {route: crawl}
"""
HOSTILE = 'a"]; x -> y\n%% </script> `id` \\" #quot; \x1b[2J \u2028 日本 [|"'


def test_a_tree_shows_cycles_sources_and_dead_letters() -> None:
    """Each route once, also those that only feed themselves; ways back lead to what stands above."""
    text = dag_text.tree(dag_of(snapshot_config(TWO_SOURCES)))
    assert (
        text
        == """\
init -> pages
crawl  [pages]
  fetch > parse
   +- clean  [text]  <- text
      strip
      +- crawl (above)  <- pages
   +- rescue  [lost]  <- lost (dead letters)
      note
upload  [files]
  read
   +- clean (above)  <- text
again  [self]
  spin
   +- again (above)  <- self
"""
    )


def _hostile(name: str) -> Dag:
    nodes = [DagNode(name, name, name, [name, name]), DagNode("b", "b", "q", ["x"])]
    edges = [DagEdge(name, "b", "q"), DagEdge("b", name, name, "dead_letter")]
    return Dag(name, nodes, edges)


@pytest.mark.parametrize("name", [HOSTILE, "\\", '"', "plain", "\\\\\\", "é"])
def test_dot_is_what_its_grammar_allows(name: str) -> None:
    """Nodes, edges and quoted labels, one statement on a line, whatever the names are."""
    quoted = r'"(?:[^"\\]|\\.)*"'
    attributes = rf"\[label={quoted}(?:, (?:shape|style)=\w+)?\]"
    statement = re.compile(rf"    (?:node \[shape=box\]|\w+(?: -> \w+)? {attributes});")
    first, *lines, last = dag_text.dot(_hostile(name)).splitlines()
    assert (first, last) == ("digraph pipeline {", "}")
    assert len(lines) == 1 + 1 + 2 + 1 + 2
    assert [line for line in lines if not statement.fullmatch(line)] == []
    assert "style=dashed" in lines[-1]


@pytest.mark.parametrize("name", [HOSTILE, "\\", '"', "plain", "#quot;", "end"])
def test_mermaid_is_what_its_grammar_allows(name: str) -> None:
    """Names stand in quoted labels only, in which every sign of the language is a number."""
    label = r'"(?:[\w .:/()=,+-]|#\d+;|<br/>)*"'
    statement = re.compile(
        rf'    (?:init\(\["init"\]\)|n\d+\[{label}\]|\w+ (?:-->|-\.->)\|{label}\| n\d+)', re.ASCII
    )
    first, *lines = dag_text.mermaid(_hostile(name)).splitlines()
    assert first == "flowchart TD"
    assert len(lines) == 1 + 2 + 1 + 2
    assert [line for line in lines if not statement.fullmatch(line)] == []


def test_a_tree_stays_on_its_lines() -> None:
    """A name with a line end, or with what steers a terminal, begins no line of its own."""
    text = dag_text.tree(_hostile(HOSTILE))
    assert len(text.splitlines()) == 6
    assert "\x1b" not in text
