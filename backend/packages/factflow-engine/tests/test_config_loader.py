"""The loader reports everything at once, keeps secrets to itself, and survives any text."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import Field, SecretStr, field_validator, model_validator

from factflow_engine.config.issues import ConfigurationError
from factflow_engine.config.loader import PipelineConfigLoader, config_hash, load_snapshot
from factflow_engine.registry import AdapterRegistry
from factflow_protocols.pipeline import (
    AdapterConfigModel,
    AdapterResult,
    PipelineContext,
    register_adapter_type,
)

SHIPPED = Path(__file__).parents[3] / "config" / "pipelines" / "site-to-markdown.yaml"


class LlmConfig(AdapterConfigModel):
    """Settings with a secret, and validators that talk too much."""

    model: str = "small"
    port: int = 80
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    api_key: SecretStr | None = None
    loud: bool = False

    @field_validator("model")
    @classmethod
    def _known(cls, value: str) -> str:
        if "bad" in value:
            raise ValueError(f"{value} is no model")
        return value

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.loud:
            key = self.api_key.get_secret_value() if self.api_key else ""
            raise ValueError(f"key {key} does not fit")
        if self.model == "explode":
            raise ZeroDivisionError("a bug in the model")
        return self


@register_adapter_type("llm", config=LlmConfig)
class LlmAdapter:
    """Asks nobody."""

    def __init__(self, config: LlmConfig) -> None:
        self.config = config

    async def process(self, context: PipelineContext) -> AdapterResult | None:
        return AdapterResult(context.payload)


def loader(**environ: str) -> PipelineConfigLoader:
    registry = AdapterRegistry()
    registry.register(LlmAdapter)
    return PipelineConfigLoader(registry, environ)


def with_config(config: str) -> str:
    return (
        'version: "1.0"\ninit_message: {route: a}\nroutes:\n  a:\n    inbound: {queue: q}\n'
        f"    adapters:\n      - type: llm\n        config: {config}\n"
    )


BROKEN = """\
version: 1.0
name: wrong-in-many-ways
rutes: {}
routes:
  first:
    inbound: {queue: one, concurrency: yes}
    adapters:
      - type: lm
      - type: llm
        config: {modell: x, port: http}
      - type: llm
    outbound: nowhere
  first: {}
  second:
    inbound: {queue: one}
    adapters: []
    error_handling: {max_retries: -1}
init_message: {route: third}
"""


def test_all_problems_are_reported_at_once_with_their_lines() -> None:
    report = loader().validate(BROKEN).report
    assert {(issue.code, issue.line) for issue in report.issues} == {
        ("E102", 1),  # version without quotes
        ("E110", 3),
        ("E102", 6),  # yes is a boolean
        ("E103", 8),
        ("E301", 10),
        ("E303", 10),
        ("E104", 11),
        ("E106", 12),
        ("E003", 13),
        ("E105", 15),
        ("E101", 16),
        ("E102", 17),
        ("E107", 18),
    }
    assert not report.is_valid
    assert not report.is_readable
    assert report.error_count == len(report.issues) == 13


def test_errors_come_before_warnings_and_count_apart() -> None:
    text = with_config("{port: '${PORT}', x: 1}")
    report = loader().validate(text).report
    assert [issue.code for issue in report.issues] == ["E301", "W506"]
    assert (report.error_count, report.warning_count, report.is_valid) == (1, 1, False)
    assert json.loads(json.dumps(report.to_dict()))["issues"][0]["code"] == "E301"


def test_a_valid_text_becomes_a_pipeline() -> None:
    text = with_config("{model: large}")
    loaded = loader().validate(text)
    assert loaded.report.is_valid
    assert loaded.config is not None
    assert loaded.config.routes["a"].adapters[0].config == {"model": "large"}
    assert loaded.config_hash == config_hash(text) == hashlib.sha256(text.encode()).hexdigest()


def test_load_raises_one_error_that_says_everything() -> None:
    with pytest.raises(ConfigurationError) as caught:
        loader().load(BROKEN, "broken.yaml")
    lines = str(caught.value).splitlines()
    assert caught.value.code == "config_invalid"
    assert lines[0] == "broken.yaml: 13 errors"
    assert len(lines) == 14
    assert any("routes.first.adapters[1].config.modell" in line for line in lines)
    assert caught.value.report.error_count == 13


def test_the_name_is_known_although_the_rest_is_wrong() -> None:
    assert loader().validate(BROKEN).name == "wrong-in-many-ways"
    assert loader().validate("name: [1]").name is None


def test_suggestions_name_the_nearest() -> None:
    hints = {issue.code: issue.suggestion for issue in loader().validate(BROKEN).report.issues}
    assert "llm" in hints["E103"]
    assert "model" in hints["E301"]
    assert "routes" in hints["E110"]


@pytest.mark.parametrize(
    ("written", "became"),
    [("on", "boolean"), ("yes", "boolean"), ("010", "number"), ("1.5", "1.5")],
)
def test_a_text_that_yaml_reads_as_something_else_is_explained(written: str, became: str) -> None:
    """`stage: on` says that `on` is a boolean in YAML 1.1, and how to write it."""
    text = with_config("{}") + f"        stage: {written}\n"
    (issue,) = loader().validate(text).report.issues
    assert (issue.code, issue.line) == ("E102", 9)
    assert became in issue.suggestion
    assert f'"{written}"' in issue.suggestion


def test_the_same_trap_is_explained_in_adapter_settings() -> None:
    (issue,) = loader().validate(with_config("{model: off}")).report.issues
    assert issue.code == "E303"
    assert '"off"' in issue.suggestion


@pytest.mark.parametrize(
    "config",
    [
        "{api_key: '${KEY}', loud: true}",  # a validator quotes the resolved secret
        "{api_key: sk-live-12345, loud: true}",  # … or one that is written out
        "{model: '${KEY}'}",  # a field validator quotes a plain setting from the environment
        "{headers: {auth: sk-live-12345}}",
        "{api_key: [sk-live-12345]}",
    ],
)
def test_no_secret_gets_into_a_message(config: str) -> None:
    report = loader(KEY="sk-live-12345-bad").validate(with_config(config)).report
    assert not report.is_valid
    assert "12345" not in json.dumps(report.to_dict())


def test_a_secret_must_be_a_reference_wherever_it_stands() -> None:
    text = with_config("{api_key: 'x${KEY}', headers: {auth: literal, ok: '${KEY}'}}")
    report = loader(KEY="secret").validate(text).report
    assert [(issue.code, issue.path.rpartition(".")[2]) for issue in report.issues] == [
        ("E304", "api_key"),
        ("E304", "auth"),
    ]


def test_a_secret_with_a_default_is_a_literal() -> None:
    text = with_config("{api_key: '${KEY:-sk-live}'}")
    assert [issue.code for issue in loader().validate(text).report.issues] == ["E304"]


def test_a_missing_variable_is_a_warning_and_its_value_is_not_judged() -> None:
    """Validation may run where the variable is not set; what it will hold nobody knows yet."""
    loaded = loader().validate(with_config("{port: '${PORT}', api_key: '${KEY}'}"))
    assert [issue.code for issue in loaded.report.issues] == ["W506", "W506"]
    assert loaded.config is not None
    assert loaded.config.routes["a"].adapters[0].config["port"] == "${PORT}"


def test_a_set_variable_is_judged() -> None:
    text = with_config("{port: '${PORT}'}")
    assert loader(PORT="8080").validate(text).report.issues == ()
    (issue,) = loader(PORT="eighty").validate(text).report.issues
    assert issue.code == "E303"
    assert "eighty" not in issue.message


def test_a_bug_in_a_config_model_is_an_issue_not_a_crash() -> None:
    (issue,) = loader().validate(with_config("{model: explode}")).report.issues
    assert issue.code == "E303"
    assert "ZeroDivisionError: a bug in the model" in issue.message


def test_a_dead_letter_queue_that_a_route_consumes_leads_to_it() -> None:
    """The route of the dead letters is reachable, and nothing is warned about."""
    text = with_config("{}") + (
        "    error_handling: {dead_letter_queue: dead}\n"
        "  morgue:\n    inbound: {queue: dead}\n    adapters: [{type: llm}]\n"
    )
    assert loader().validate(text).report.issues == ()


def test_an_unreadable_consumer_does_not_accuse_the_outbound_queue() -> None:
    """One cause, one issue: the queue seems to have no reader only because that one is misspelt."""
    text = with_config("{}") + (
        "    outbound: two\n  b:\n    inbound: {queu: two}\n    adapters: [{type: llm}]\n"
    )
    codes = {issue.code for issue in loader().validate(text).report.errors}
    assert codes == {"E101", "E110"}


def test_the_shipped_pipeline_is_well_formed() -> None:
    """Its shape is checked here, its adapters where they live."""
    config = load_snapshot(SHIPPED.read_text(), SHIPPED.name)
    stages = {
        route: [adapter.stage_name for adapter in settings.adapters]
        for route, settings in config.routes.items()
    }
    assert stages == {
        "sitemap_scraper": ["sitemap_parser", "url_expander", "web_scraper", "web_content_storage"],
        "markdown_processor": ["html_to_markdown", "smart_segmenter", "markdown_storage_writer"],
    }
    assert config.error_handling_for("markdown_processor").max_retries == 2


def test_a_snapshot_is_read_without_its_adapters() -> None:
    text = with_config("{anything: 1}").replace("llm", "long_gone")
    assert load_snapshot(text).routes["a"].adapters[0].type == "long_gone"
    with pytest.raises(ConfigurationError):
        load_snapshot(BROKEN)


VALID = SHIPPED.read_text()
QUIET = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def check_survives(text: str) -> None:
    """Validate; whatever the text, the result is a report whose parts agree with one another."""
    loaded = loader().validate(text)
    assert (loaded.config is None) is not loaded.report.is_valid
    json.dumps(loaded.report.to_dict())
    for issue in loaded.report.issues:
        assert issue.line is None or 1 <= issue.line <= len(text.splitlines()) + 1
        assert len(issue.message) < 2000


@QUIET
@given(st.text(max_size=300))
def test_no_text_makes_validation_raise(text: str) -> None:
    check_survives(text)


@QUIET
@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`, \n\t<?.1_~", max_size=120))
def test_no_yaml_punctuation_makes_validation_raise(text: str) -> None:
    check_survives(text)


@QUIET
@given(st.randoms(use_true_random=False))
def test_no_damage_to_a_valid_text_makes_validation_raise(chance: random.Random) -> None:
    """Cut, swap, double and replace pieces of the shipped pipeline."""
    text = VALID
    for _ in range(chance.randint(1, 4)):
        start, end = sorted(chance.randrange(len(text) + 1) for _ in range(2))
        end = min(end, start + 60)
        piece = text[start:end]
        inserts = ["", piece * 2, "[", "{", "\t", "*x", "&x ", "null", "yes", "- ", "\n", ": ", "9"]
        text = text[:start] + chance.choice(inserts) + text[end:]
    check_survives(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


@QUIET
@given(st.data())
def test_no_value_anywhere_makes_validation_raise(data: st.DataObject) -> None:
    """Any JSON value in the place of any value of a valid pipeline."""
    tree: Any = json.loads(
        json.dumps(
            {
                "version": "1.0",
                "routes": {
                    "a": {
                        "inbound": {"queue": "q", "concurrency": 2},
                        "adapters": [
                            {
                                "type": "llm",
                                "config": {"port": 1, "headers": {"x": "${X}"}},
                                "condition": {"field": "f", "operator": "in", "value": [1]},
                                "batch": {"size": 3},
                            }
                        ],
                        "outbound": "q",
                        "error_handling": {"max_retries": 1, "dead_letter_queue": "d"},
                    }
                },
                "init_message": {"route": "a", "payload": {"x": 1}},
                "backpressure": {"max_queued": 2},
            }
        )
    )
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], (dict, list)):
                collect(node[key])

    collect(tree)
    node, key = data.draw(st.sampled_from(places))
    node[key] = data.draw(VALUES)
    check_survives(json.dumps(tree, ensure_ascii=False))
