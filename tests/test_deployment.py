"""What is deployed is what there is: the image, the compose file and the manifests name settings, options and
paths that exist, and nothing of them is a secret."""

from __future__ import annotations

import re
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import typer
import yaml

from factflow_cli.app import app as program
from factflow_infra.database_url import check_database_url
from factflow_infra.storage.address import BucketAddress, parse_storage_uri
from factflow_server.access_tokens import AccessTokens
from factflow_server.middleware.bearer import OPEN_PATHS
from factflow_server.serving import LINGER_SECONDS
from factflow_server.settings import ServerSettings
from factflow_server.worker_process import check as check_worker

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
EXAMPLE = DEPLOY / "compose.env.example"
INSERTED = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
OTHER_VARIABLES = {
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_REGION",
    "AWS_ENDPOINT_URL",
}
"""Beside those of Factflow: the ones that docs/guides/storage.md lists."""
WRITING_SECONDS = 5
"""How long a process may take to write what it has left, behind its grace period."""

Tree = dict[str, Any]


@dataclass(frozen=True)
class Deployed:
    """A process of ours as it is deployed: a command in an environment, with time to stop in."""

    where: str
    command: list[str]
    environment: dict[str, str]
    stop_seconds: float

    def settings(self) -> ServerSettings:
        """Return the settings that its variables make."""
        given: Tree = {
            name.removeprefix("FACTFLOW_").lower(): value
            for name, value in self.environment.items()
            if name.startswith("FACTFLOW_")
        }
        assert set(given) <= set(ServerSettings.model_fields), f"{self.where}: no such setting"
        return ServerSettings(**given)


def example() -> dict[str, str]:
    """Return the variables of the example file."""
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and line[0] != "#"]
    return dict(line.split("=", 1) for line in lines)


@cache
def composed() -> Tree:
    """Return the compose file, every secret being `secret-of-NAME`."""
    values = {name: value or f"secret-of-{name}" for name, value in example().items()}
    text = (ROOT / "compose.yaml").read_text()
    found: Tree = yaml.safe_load(INSERTED.sub(lambda match: values[match[1]], text))
    return found


def in_compose() -> Iterator[Deployed]:
    """Yield our processes of the compose file."""
    for name, service in composed()["services"].items():
        if "build" in service:
            yield Deployed(
                f"compose.yaml {name}",
                service["command"],
                service["environment"],
                float(service["stop_grace_period"].removesuffix("s")),
            )


@cache
def manifests() -> list[Tree]:
    """Return all objects of the manifests but the kustomization."""
    found = [one for path in MANIFESTS for one in yaml.safe_load_all(path.read_text())]
    return [one for one in found if one["kind"] != "Kustomization"]


def of_kind(kind: str) -> list[Tree]:
    """Return the manifests' objects of a kind."""
    return [one for one in manifests() if one["kind"] == kind]


def containers() -> Iterator[tuple[Tree, Tree]]:
    """Yield pod and container of each deployment."""
    for deployment in of_kind("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        [container] = pod["containers"]
        yield pod, container


def in_manifests() -> Iterator[Deployed]:
    """Yield our processes of the manifests, every secret being one that could be."""
    secrets = {
        "database-url": "postgresql://factflow:secret@db.example/factflow",
        "queue-url": "amqp://factflow:secret@broker.example/",
        "api-tokens": "operator:operator:secret-secret-secret",
        "s3-access-key": "factflow",
        "s3-secret-key": "secret",
    }
    maps = {one["metadata"]["name"]: one["data"] for one in of_kind("ConfigMap")}
    for pod, container in containers():
        environment: dict[str, str] = {}
        for source in container["envFrom"]:
            environment |= maps[source["configMapRef"]["name"]]
        for one in container["env"]:
            key = one.get("valueFrom", {}).get("secretKeyRef", {"key": None})["key"]
            environment[one["name"]] = one["value"] if key is None else secrets[key]
        pause = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command")
        yield Deployed(
            f"kubernetes {container['name']}",
            container["args"],
            environment,
            pod["terminationGracePeriodSeconds"] - (float(pause[1]) if pause else 0.0),
        )


OURS = [*in_compose(), *in_manifests()]


def images() -> Iterator[str]:
    """Yield every image that the compose file names."""
    for service in composed()["services"].values():
        yield service["image"]


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.where)
def test_every_variable_is_a_setting_and_every_word_an_option(one: Deployed) -> None:
    """A setting that was renamed, or a value that no server takes, is found here and not at a start."""
    settings = one.settings()
    others = {name for name in one.environment if not name.startswith("FACTFLOW_")}
    assert others <= OTHER_VARIABLES
    top: Any = typer.main.get_command(program)
    name, *options = one.command
    top.commands[name].make_context(name, options)  # raises for a word it does not know
    assert settings.shares_work
    check_worker(settings)
    assert settings.database_url is not None
    check_database_url(settings.database_url.get_secret_value())
    assert isinstance(parse_storage_uri(str(settings.storage_uri)), BucketAddress)


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.where)
def test_nothing_is_killed_before_its_grace_period_is_over(one: Deployed) -> None:
    needed = one.settings().shutdown_grace_seconds + WRITING_SECONDS
    if one.command[0] == "serve":
        needed += LINGER_SECONDS
    assert one.stop_seconds >= needed


def test_servers_and_workers_share_all_three_places() -> None:
    for places in (list(in_compose()), list(in_manifests())):
        commands = sorted(one.command for one in places)
        assert commands == [["serve", "--no-work"], ["worker"]]
        shared = {
            (one.settings().database_url, one.settings().queue_url, one.settings().storage_uri)
            for one in places
        }
        assert len(shared) == 1


@pytest.mark.parametrize("one", OURS, ids=lambda one: one.where)
def test_a_server_beyond_loopback_has_tokens_and_a_name(one: Deployed) -> None:
    settings = one.settings()
    if one.command[0] == "serve":
        assert settings.host == "0.0.0.0"
        text = settings.api_tokens.get_secret_value() if settings.api_tokens else ""
        assert AccessTokens.load(text, None)
        assert settings.allowed_hosts
    else:
        assert settings.api_tokens is None


def test_the_example_holds_every_variable_and_no_secret() -> None:
    """What the compose file demands has no value there, and what has one is no secret."""
    found = INSERTED.findall((ROOT / "compose.yaml").read_text())
    demanded = {name for name, kind, _ in found if kind == "?"}
    with_default = {name for name, kind, _ in found if kind == "-"}
    values = example()
    assert {name for name, value in values.items() if not value} == demanded
    assert demanded | with_default | {"COMPOSE_PROFILES"} == set(values)
    assert not demanded & with_default
    profiles = {
        profile
        for service in composed()["services"].values()
        for profile in service.get("profiles", [])
    }
    assert profiles == {values["COMPOSE_PROFILES"]}
    assert "/deploy/compose.env" in (ROOT / ".gitignore").read_text().splitlines()
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_no_manifest_holds_a_secret() -> None:
    """They name keys of one Secret, each of which the guide makes."""
    assert of_kind("Secret") == []
    guide = (ROOT / "docs/guides/deployment.md").read_text()
    for _, container in containers():
        for one in container["env"]:
            reference = one.get("valueFrom", {}).get("secretKeyRef")
            if reference is None:
                assert one["name"] in {"FACTFLOW_HOST", "FACTFLOW_ALLOWED_HOSTS"}
            else:
                assert reference["name"] == "factflow"
                assert f"--from-literal={reference['key']}=" in guide


def test_the_secrets_made_are_new_and_for_their_owner_alone(tmp_path: Path) -> None:
    """Every variable that lacks a value gets one that may stand in a URL; none is made anew."""
    for name in ("make-env", EXAMPLE.name):
        copy = tmp_path / name
        copy.write_bytes((DEPLOY / name).read_bytes())
        copy.chmod(0o755)

    def made() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [tmp_path / "make-env"], capture_output=True, text=True, check=False, cwd="/"
        )

    assert made().returncode == 0
    file = tmp_path / "compose.env"
    text = file.read_text()
    values = dict(re.findall(r"^([A-Z0-9_]+)=(.*)$", text, re.MULTILINE))
    assert set(values) == set(example())
    secrets = [values[name] for name, value in example().items() if not value]
    assert all(re.fullmatch(r"[0-9a-f]{40}", secret) for secret in secrets)
    assert len(set(secrets)) == len(secrets)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    again = made()
    assert again.returncode == 1
    assert "there already" in again.stderr
    assert file.read_text() == text


def test_what_others_could_reach_is_on_loopback() -> None:
    """A port without an address would be open to the network, whatever the machine's firewall says."""
    ports = [port for one in composed()["services"].values() for port in one.get("ports", [])]
    assert len(ports) == 1
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_service_is_pinned_waited_for_and_keeps_its_data() -> None:
    services = composed()["services"]
    assert all(re.search(r":[^:/]*\d", image) for image in images())
    healthy = {name for name, service in services.items() if "healthcheck" in service}
    assert healthy == {"server", "postgres", "rabbitmq", "s3"}
    for service in services.values():
        for name, how in service.get("depends_on", {}).items():
            ends = how["condition"] == "service_completed_successfully"
            assert ends or name in healthy
    kept = {
        volume.partition(":")[0]
        for service in services.values()
        for volume in service.get("volumes", [])
    }
    assert kept == set(composed()["volumes"])


def test_addresses_in_the_compose_file_are_those_of_its_services() -> None:
    services = composed()["services"]
    for one in in_compose():
        for name in ("FACTFLOW_DATABASE_URL", "FACTFLOW_QUEUE_URL", "AWS_ENDPOINT_URL"):
            assert urlsplit(one.environment[name]).hostname in services
    server, postgres = services["server"]["environment"], services["postgres"]["environment"]
    database = urlsplit(server["FACTFLOW_DATABASE_URL"])
    assert database.password == postgres["POSTGRES_PASSWORD"]
    assert (database.username, database.path[1:]) == (
        postgres["POSTGRES_USER"],
        postgres["POSTGRES_DB"],
    )
    broker = services["rabbitmq"]["environment"]
    queue = urlsplit(server["FACTFLOW_QUEUE_URL"])
    assert queue.username == broker["RABBITMQ_DEFAULT_USER"]
    assert queue.password == broker["RABBITMQ_DEFAULT_PASS"]
    store = services["s3"]["environment"]
    assert server["AWS_ACCESS_KEY_ID"] == store["MINIO_ROOT_USER"]
    assert server["AWS_SECRET_ACCESS_KEY"] == store["MINIO_ROOT_PASSWORD"]
    bucket = urlsplit(server["FACTFLOW_STORAGE_URI"]).netloc
    assert services["bucket"]["entrypoint"][-1] == f"store/{bucket}"


def test_the_image_is_made_of_files_that_are_there() -> None:
    """What is copied exists, what installs it is pinned, and it does not run as root."""
    text = (ROOT / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (?!--from)(\S+) ", text, re.MULTILINE)
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    allowed = (ROOT / ".dockerignore").read_text().splitlines()
    assert all(f"!{name}" in allowed for name in copied)
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", text, re.MULTILINE)
    assert re.search(r'"uv==[0-9.]+"', (ROOT / "pyproject.toml").read_text())
    [folder] = re.findall(r"FACTFLOW_DATA_DIR=(\S+)$", text, re.MULTILINE)
    mounted = composed()["services"]["server"]["volumes"]
    assert mounted == [f"server-data:{folder}"]


def test_the_image_has_the_version_of_the_packages() -> None:
    version = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["images"][0]
    changelog = (ROOT / "CHANGELOG.md").read_text()
    newest = re.search(r"^## \[?(\d+\.\d+\.\d+)", changelog, re.MULTILINE)
    assert newest is not None
    assert version == {"name": "factflow", "newTag": newest[1]}
    services = composed()["services"]
    ours = {service["image"] for service in services.values() if "build" in service}
    assert ours == {f"factflow:{newest[1]}"}


def test_probes_ask_for_paths_that_need_no_token_under_a_name_that_is_known() -> None:
    for _, container in containers():
        probes = [container[name] for name in container if name.endswith("Probe")]
        assert len(probes) == (3 if container["name"] == "server" else 0)
        for probe in probes:
            assert probe["httpGet"]["path"] in OPEN_PATHS
            [header] = probe["httpGet"]["httpHeaders"]
            assert header == {"name": "Host", "value": "localhost"}
            assert probe["httpGet"]["port"] in {port["name"] for port in container["ports"]}


def test_no_pod_gets_settings_from_the_name_of_a_service() -> None:
    """Kubernetes makes `FACTFLOW_PORT=tcp://…` of a Service called factflow, which is no port."""
    names = [one["metadata"]["name"] for one in of_kind("Service")]
    assert names == ["factflow"]
    assert all(pod["enableServiceLinks"] is False for pod, _ in containers())


def test_objects_find_each_other() -> None:
    """Selectors match the pods they are for, and what is scaled exists."""
    labels = {
        one["metadata"]["name"]: one["spec"]["template"]["metadata"]["labels"]
        for one in of_kind("Deployment")
    }
    for deployment in of_kind("Deployment"):
        wanted = deployment["spec"]["selector"]["matchLabels"]
        assert wanted == labels[deployment["metadata"]["name"]]
    server = labels["factflow-server"]
    assert [one["spec"]["selector"] for one in of_kind("Service")] == [server]
    [budget] = of_kind("PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"] == server
    [scaler] = of_kind("HorizontalPodAutoscaler")
    assert scaler["spec"]["scaleTargetRef"]["name"] in labels
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    assert set(listed) <= {path.name for path in MANIFESTS}
