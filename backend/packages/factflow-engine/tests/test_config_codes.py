"""Every validation code: a text that triggers it, at the right path and line, and its place in the docs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent

import pytest
from pydantic import Field, SecretStr

from factflow_engine.config.field_errors import MAX_ISSUES
from factflow_engine.config.loader import PipelineConfigLoader
from factflow_engine.registry import AdapterRegistry
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)

DOCS = Path(__file__).parents[4] / "docs" / "reference" / "validation-codes.md"


class EchoConfig(AdapterConfigModel):
    """Settings of echo."""

    max_urls: int = Field(10, ge=1)
    token: SecretStr | None = None


@register_adapter_type("echo", config=EchoConfig)
class EchoAdapter:
    """Hands on what it gets."""

    def __init__(self, config: EchoConfig) -> None:
        self.config = config

    async def process(self, context: PipelineContext) -> AdapterResult | None:
        return AdapterResult(context.payload)


class NeedyConfig(AdapterConfigModel):
    """Settings of needy."""

    model: str


@register_adapter_type("needy", config=NeedyConfig)
class NeedyAdapter:
    """Needs a model, and takes batches."""

    def __init__(self, config: NeedyConfig) -> None:
        self.config = config

    async def process_batch(
        self, contexts: Sequence[PipelineContext]
    ) -> Sequence[AdapterResult | None | Exception]:
        return [None for _ in contexts]


@register_adapter_type("sieve")
class SieveAdapter:
    """Ends some messages, and says so."""

    ends_messages = True

    def __init__(self, config: AdapterConfigModel) -> None:
        self.config = config

    async def process(self, context: PipelineContext) -> AdapterResult | None:
        return None


def loader() -> PipelineConfigLoader:
    registry = AdapterRegistry()
    for adapter in (EchoAdapter, NeedyAdapter, SieveAdapter):
        registry.register(adapter)
    return PipelineConfigLoader(registry, environ={"TOKEN": "from-the-environment"})


def pipeline(stage: str = "- type: echo", *, route: str = "", top: str = "") -> str:
    """Return a one-route pipeline: the stage from line 6 on, `route` keys and `top` keys behind it."""
    lines = [
        'version: "1.0"',
        "routes:",
        "  a:",
        "    inbound: {queue: in}",
        "    adapters:",
        *("      " + line for line in dedent(stage).strip().splitlines()),
        *("    " + line for line in dedent(route).strip().splitlines()),
        *dedent(top or "init_message: {route: a}").strip().splitlines(),
    ]
    return "\n".join(lines) + "\n"


RING = """\
version: "1.0"
init_message: {{route: a}}
routes:
  a:
    inbound: {{queue: one}}
    adapters:
      - type: echo
    outbound: two
  b:
    inbound: {{queue: two}}
    adapters:
      - type: {stage}
    outbound: {{queue: one}}
"""

CASES = [
    ("E001", "", 2, "a: 1\nb: [1, 2\n"),
    ("E001", "", 3, "a:\n  b: 1\n\tc: 2\n"),
    ("E001", "", 2, "a: 1\nb: \x07\n"),
    ("E001", "", 1, "a: *nowhere\n"),
    ("E002", "", 1, ""),
    ("E002", "", 2, "# a list\n- a\n- b\n"),
    ("E003", "", 8, pipeline(top="init_message: {route: a}\ninit_message: {route: a}")),
    ("E004", "", 2, "a: 1\nb: " + "[" * 60 + "]" * 60),
    ("E004", "", 1, "a: &a [*a]\n"),
    ("E004", "", None, "a: " + "x" * (1 << 20)),
    ("E005", "", 3, "a: 1\nb: 2\n---\nc: 3\n"),
    ("E006", "", 8, pipeline(top="init_message: {route: a}\non: 1")),
    ("E007", "", 7, pipeline(top="init_message: {route: !!python/name:os.system a}")),
    ("E008", "", 7, pipeline(top="init_message: {route: a, payload: {n: .nan}}")),
    ("E009", "", None, "\n".join(f"key{n}: 1" for n in range(MAX_ISSUES + 5))),
    ("E101", "routes", 1, 'version: "1.0"\n'),
    ("E101", "version", 1, "routes: {}\n"),
    ("E101", "routes.a.inbound.queue", 4, pipeline().replace("{queue: in}", "{concurrency: 1}")),
    ("E102", "version", 1, pipeline().replace('"1.0"', '"2.0"')),
    ("E102", "routes.a.inbound.prefetch", 4, pipeline().replace("in}", "in, prefetch: '8'}")),
    ("E103", "routes.a.adapters[0].type", 6, pipeline("- type: eco")),
    ("E104", "routes.a.adapters[1]", 7, pipeline("- type: echo\n- type: echo")),
    ("E105", "routes.b.inbound.queue", 10, RING.format(stage="sieve").replace("two", "one")),
    ("E106", "routes.a.outbound", 7, pipeline(route="outbound: inn")),
    ("E106", "routes.a.outbound.queue", 8, pipeline(route="outbound:\n  queue: out")),
    ("E107", "init_message.route", 7, pipeline(top="init_message: {route: b}")),
    ("E108", "routes.a.outbound", 8, RING.format(stage="echo")),
    ("E108", "routes.a.outbound", 7, pipeline(route="outbound: in")),
    ("E109", "routes._a", 3, pipeline().replace("  a:", "  _a:")),
    ("E109", "routes.a.adapters[0].stage", 7, pipeline("- type: echo\n  stage: a/b")),
    ("E110", "routes.a.inbound.concurency", 4, pipeline().replace("in}", "in, concurency: 1}")),
    ("E201", "routes.a.adapters[0].condition", 7, pipeline(
        "- type: echo\n  condition: {field: url, operator: matches, value: '('}")),
    ("E201", "routes.a.adapters[0].condition.operator", 7, pipeline(
        "- type: echo\n  condition: {field: url, operator: like, value: x}")),
    ("E202", "routes.a.adapters[0].condition", 7, pipeline(
        "- type: echo\n  condition: {field: url, operator: equals}")),
    ("E202", "routes.a.adapters[0].condition", 7, pipeline(
        "- type: echo\n  condition: {field: url, operator: in, value: x}")),
    ("E301", "routes.a.adapters[0].config.max_url", 7, pipeline(
        "- type: echo\n  config: {max_url: 3}")),
    ("E302", "routes.a.adapters[0].config.model", 6, pipeline("- type: needy")),
    ("E303", "routes.a.adapters[0].config.max_urls", 8, pipeline(
        "- type: echo\n  config:\n    max_urls: 0")),
    ("E304", "routes.a.adapters[0].config.token", 7, pipeline(
        "- type: echo\n  config: {token: hunter2}")),
    ("W501", "routes.b", 10, RING.format(stage="echo").replace("outbound: two", "outbound: one")
        .replace("adapters:\n      - type: echo",
                 "adapters:\n      - {type: echo, condition: {field: x, operator: exists}}\n")),
    ("W502", "", 1, pipeline(top="description: nothing starts here")),
    ("W503", "error_handling.dead_letter_queue", 8, pipeline(
        top="init_message: {route: a}\nerror_handling: {dead_letter_queue: dead}")),
    (
        "W504",
        "routes.a.backpressure.max_concurrency",
        7,
        pipeline(route="backpressure: {max_concurrency: 5}"),
    ),
    (
        "W508",
        "routes.a.circuit_breaker.probe_after_seconds",
        7,
        pipeline(route="circuit_breaker: {probe_after_seconds: 5}"),
    ),
    ("W505", "routes.a.adapters[0].batch", 7, pipeline("- type: echo\n  batch: {size: 5}")),
    ("W506", "routes.a.adapters[0].config.max_urls", 7, pipeline(
        "- type: echo\n  config: {max_urls: '${NOT_SET}'}")),
    ("W507", "routes.a.error_handling.retry_on", 7, pipeline(
        route="error_handling: {retry_on: [TransientError]}")),
    ("W507", "error_handling.retry_on", 7, pipeline(
        top="error_handling: {retry_on: [TransientError]}")),
    ("E109", "error_handling.retry_on[0]", 7, pipeline(
        top="error_handling: {max_retries: 1, retry_on: [httpx.ReadTimeout]}")),
    ("E102", "error_handling.retry_on[1]", 7, pipeline(
        top="error_handling: {max_retries: 1, retry_on: [OSError, PermanentError]}")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "path", "line", "text"), CASES, ids=[f"{case[0]}-{case[1]}" for case in CASES]
)
def test_the_code_is_reported_at_its_place(
    code: str, path: str, line: int | None, text: str
) -> None:
    """Code, path and line are right, and the message and its code survive into the printed form."""
    report = loader().validate(text).report
    found = [issue for issue in report.issues if issue.code == code]
    assert (path, line) in [(issue.path, issue.line) for issue in found], [*map(str, report.issues)]
    assert all(issue.severity == ("warning" if code[0] == "W" else "error") for issue in found)
    assert all(issue.message and str(issue).startswith(code) for issue in found)


def test_an_installed_type_whose_module_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """E111 at the stage that uses it, with the file, line and exception; others are not affected."""
    metadata = tmp_path / "shaky-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: shaky\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[factflow.adapters]\nshaky = shaky_module:Shaky\n")
    (tmp_path / "shaky_module.py").write_text("import math\n1 / 0\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    registry = AdapterRegistry.discover()
    registry.register(EchoAdapter)
    text = pipeline("- type: echo\n- type: shaky")
    (issue,) = PipelineConfigLoader(registry, {}).validate(text).report.issues
    assert (issue.code, issue.path, issue.line) == ("E111", "routes.a.adapters[1].type", 7)
    assert (
        f"ZeroDivisionError: division by zero ({tmp_path}/shaky_module.py, line 2)" in issue.message
    )


def test_the_base_of_the_cases_is_valid() -> None:
    """Each case fails for its own reason: the pipeline they all start from has no issue."""
    assert loader().validate(pipeline()).report.issues == ()


def test_every_code_is_triggered_here_and_explained_in_the_docs() -> None:
    documented = set(re.findall(r"^\| `([EW]\d{3})` ", DOCS.read_text(), re.MULTILINE))
    assert documented == {case[0] for case in CASES} | {"E111"}


@pytest.mark.parametrize("operator", ["condition", "sieve"])
def test_a_cycle_with_an_exit_is_accepted(operator: str) -> None:
    """A condition on any stage of the cycle, or an adapter that ends messages, is an exit."""
    if operator == "sieve":
        text = RING.format(stage="sieve")
    else:
        gate = "echo\n        condition: {field: depth, operator: lt, value: 3}"
        text = RING.format(stage=gate)
    assert loader().validate(text).report.is_valid


def test_a_condition_outside_the_cycle_is_no_exit() -> None:
    """Only stages on the cycle count: a gate on the way into it ends nothing."""
    text = RING.format(stage="echo") + (
        "  start:\n"
        "    inbound: {queue: begin}\n"
        "    adapters: [{type: sieve, condition: {field: x, operator: exists}}]\n"
        "    outbound: one\n"
    )
    codes = [issue.code for issue in loader().validate(text).report.errors]
    assert codes == ["E108"]


def test_an_unknown_adapter_on_a_cycle_is_one_problem_not_two() -> None:
    codes = [issue.code for issue in loader().validate(RING.format(stage="eco")).report.errors]
    assert codes == ["E103"]
