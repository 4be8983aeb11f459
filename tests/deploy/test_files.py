"""The printed files: reviewed texts, their meaning, and what other programs say of them."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ruamel.yaml import YAML

from localrun.cli.app import COMMANDS
from localrun.deploy.description import HEALTH, METRICS, READY, WAITING_METRIC
from localrun.deploy.kubernetes import kubernetes_files
from localrun.server.core import metrics
from tests.deploy.describing import KEY, LOCK, PULLED, deployment, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from localrun.deploy.description import DeployFile

TARGETS = printed()
WRITTEN_BY_NOBODY = {"localrun_ray.py"}  # a data file of the package


def parsed(file: DeployFile) -> Any:
    return YAML(typ="safe", pure=True).load(file.text)


def named(target: str) -> dict[str, Any]:
    return {file.name: parsed(file) for file in TARGETS[target] if file.name.endswith(".yaml")}


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from pod.get("initContainers", ())
    yield from pod["containers"]


@pytest.mark.parametrize("target", TARGETS)
def test_the_files_are_as_reviewed(target: str, golden: Callable[[str, str], None]) -> None:
    for file in TARGETS[target]:
        if file.name not in WRITTEN_BY_NOBODY:
            golden(f"deploy/{target}/{file.name}", file.text)


@pytest.mark.parametrize("target", ["kubernetes", "kubernetes-plain", "kubernetes-image"])
def test_selectors_match_the_pods(target: str) -> None:
    objects = named(target)
    spec = objects["deployment.yaml"]["spec"]
    labels = spec["template"]["metadata"]["labels"]

    for selector in (spec["selector"]["matchLabels"], objects["service.yaml"]["spec"]["selector"]):
        assert selector.items() <= labels.items()
        assert "app.kubernetes.io/instance" in selector


@pytest.mark.parametrize("target", ["kubernetes", "kubernetes-plain", "kubernetes-image"])
def test_probes_and_ports_are_of_the_server(target: str) -> None:
    objects = named(target)
    pod = objects["deployment.yaml"]["spec"]["template"]
    (server,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    host = next(each["value"] for each in server["env"] if each["name"] == "LOCALRUN_HOST")

    for kind, path in (("startup", HEALTH), ("liveness", HEALTH), ("readiness", READY)):
        assert server[f"{kind}Probe"]["httpGet"] == {"path": path, "port": "http"}
    assert host == f"0.0.0.0:{ports['http']}"
    assert objects["service.yaml"]["spec"]["ports"][0]["targetPort"] in ports
    assert pod["metadata"]["annotations"]["prometheus.io/port"] == str(ports["http"])


def test_the_routes_and_the_metric_exist() -> None:
    app = Path(metrics.__file__).parents[1] / "app.py"
    routes = app.read_text()

    assert all(f'@router.get("{path}")' in routes for path in (HEALTH, READY, METRICS))
    assert f'"{WAITING_METRIC}"' in Path(metrics.__file__).read_text()


@pytest.mark.parametrize("target", ["kubernetes", "kubernetes-plain", "kubernetes-image"])
def test_pods_have_no_privileges_and_all_volumes_they_mount(target: str) -> None:
    objects = named(target)
    pod = objects["deployment.yaml"]["spec"]["template"]["spec"]
    volumes = {volume["name"]: volume for volume in pod["volumes"]}

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    for container in containers(pod):
        rights = container["securityContext"]
        assert rights["readOnlyRootFilesystem"] is True
        assert rights["allowPrivilegeEscalation"] is False
        assert rights["capabilities"] == {"drop": ["ALL"]}
        for mount in container["volumeMounts"]:
            assert mount["name"] in volumes
            assert mount["mountPath"].startswith("/")
            assert "subPath" not in mount
    for volume in volumes.values():
        if "configMap" in volume:
            assert volume["configMap"]["name"] == objects["lock.yaml"]["metadata"]["name"]


def test_references_between_objects_name_what_is_printed() -> None:
    objects = named("kubernetes")
    (server,) = objects["deployment.yaml"]["spec"]["template"]["spec"]["containers"]
    key = next(each for each in server["env"] if each["name"] == "LOCALRUN_API_KEY")
    reference = key["valueFrom"]["secretKeyRef"]

    assert reference["name"] == objects["secret.yaml"]["metadata"]["name"]
    assert objects["secret.yaml"]["stringData"] == {reference["key"]: KEY}
    assert (
        objects["autoscaler.yaml"]["spec"]["scaleTargetRef"]["name"]
        == (objects["deployment.yaml"]["metadata"]["name"])
    )
    assert set(objects["kustomization.yaml"]["resources"]) == objects.keys() - {
        "kustomization.yaml"
    }
    assert json.loads(objects["lock.yaml"]["data"]["models.lock"]) == json.loads(LOCK)


def test_limits_are_those_of_the_plan_and_the_autoscaler_owns_the_number() -> None:
    spec = named("kubernetes")["deployment.yaml"]["spec"]
    (server,) = spec["template"]["spec"]["containers"]
    resources = server["resources"]
    memory = int(resources["limits"]["memory"].removesuffix("Mi")) << 20

    assert PULLED.needed_bytes < memory < PULLED.needed_bytes + (1 << 30)
    assert resources["requests"]["memory"] == resources["limits"]["memory"]
    assert resources["limits"]["nvidia.com/gpu"] == 1
    assert "replicas" not in spec
    plain = named("kubernetes-plain")["deployment.yaml"]["spec"]
    assert plain["replicas"] == 1
    plain_limits = plain["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert "nvidia.com/gpu" not in plain_limits


def test_answers_may_end_before_a_pod_is_killed() -> None:
    pod = named("kubernetes")["deployment.yaml"]["spec"]["template"]["spec"]
    drain = next(
        each["value"] for each in pod["containers"][0]["env"] if each["name"] == "LOCALRUN_DRAIN"
    )

    assert pod["terminationGracePeriodSeconds"] > int(drain.removesuffix("s")) + 5


def test_the_key_is_in_the_one_file_that_is_private() -> None:
    for target, files in TARGETS.items():
        with_key = [file.name for file in files if KEY in file.text]
        assert with_key == [file.name for file in files if file.is_private]
        assert bool(with_key) == (target in {"kubernetes", "compose"})


@pytest.mark.parametrize("target", ["compose", "compose-plain"])
def test_compose_mounts_only_what_is_beside_it(target: str) -> None:
    document = named(target)["compose.yaml"]
    beside = {file.name for file in TARGETS[target]}

    for service in document["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        for mount in service["volumes"]:
            source = mount.partition(":")[0]
            assert source in document["volumes"] or source.removeprefix("./") in beside
    assert document["services"]["localrun"]["ports"] == ["127.0.0.1:11435:11435"]
    assert document["secrets"]["api-key"]["file"] == "./api-key.txt"


@pytest.mark.parametrize("target", ["quadlet", "quadlet-plain", "quadlet-image"])
def test_units_name_each_other(target: str) -> None:
    beside = {file.name: file.text for file in TARGETS[target]}
    for name, text in beside.items():
        for line in text.splitlines() if name.endswith(".container") else ():
            key, _, value = line.partition("=")
            if key == "Volume":
                assert value.partition(":")[0].removeprefix("./") in beside
            if key in {"Requires", "After"}:
                assert value.replace(".service", ".container") in beside


def test_the_commands_in_the_files_are_commands() -> None:
    for target in ("kubernetes", "kubernetes-plain"):
        pod = named(target)["deployment.yaml"]["spec"]["template"]["spec"]
        for container in containers(pod):
            assert container["args"][0] in COMMANDS


def test_the_application_for_ray_is_python_with_the_arguments_of_its_configuration() -> None:
    files = {file.name: file for file in TARGETS["ray"]}
    source = files["localrun_ray.py"].text
    tree = ast.parse(source)
    build = next(
        node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "build"
    )
    read = {
        node.value
        for node in ast.walk(build)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    (application,) = parsed(files["serve.yaml"])["applications"]

    assert application["import_path"] == "localrun_ray:build"
    assert application["args"].keys() <= read
    assert application["args"]["lock"] in files
    assert "RAY_AUTH_MODE=token" in files["README.md"].text


def validator(variable: str, command: str) -> str:
    """Return a program that validates, or skip: it is not part of the test tools."""
    found = os.environ.get(variable) or shutil.which(command)
    if found is None:
        pytest.skip(f"{variable} names {command}")
    return found


def written(target: str, folder: Path) -> Path:
    for file in TARGETS[target]:
        (folder / file.name).write_text(file.text)
    return folder


@pytest.mark.parametrize("target", ["kubernetes", "kubernetes-plain", "kubernetes-image"])
def test_kubernetes_knows_every_field(target: str, tmp_path: Path) -> None:
    program = validator("LOCALRUN_TEST_KUBERNETES_VALIDATE", "kubernetes-validate")

    for path in written(target, tmp_path).glob("*.yaml"):
        if path.name != "kustomization.yaml":
            command = [program, "--strict", "-k", "1.33", str(path)]
            done = subprocess.run(command, check=False, capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("target", ["compose", "compose-plain"])
def test_compose_knows_every_field(target: str, tmp_path: Path) -> None:
    program = validator("LOCALRUN_TEST_DOCKER_COMPOSE", "docker-compose")

    command = [program, "-f", str(written(target, tmp_path) / "compose.yaml"), "config", "-q"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("target", ["quadlet", "quadlet-plain", "quadlet-image"])
def test_quadlet_knows_every_key(target: str, tmp_path: Path) -> None:
    program = validator("LOCALRUN_TEST_QUADLET", "quadlet")

    environ = os.environ | {"QUADLET_UNIT_DIRS": str(written(target, tmp_path))}
    command = [program, "-dryrun", "-user"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)

    assert done.returncode == 0, done.stderr
    assert "ExecStart=/usr/bin/podman run" in done.stdout


def test_a_model_in_an_image_is_mounted_as_a_store_and_not_pulled() -> None:
    pod = named("kubernetes-image")["deployment.yaml"]["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    mount = next(each for each in server["volumeMounts"] if each["name"] == "model-image")
    volume = next(each for each in pod["volumes"] if each["name"] == "model-image")
    environment = {each["name"]: each.get("value") for each in server["env"]}

    assert "initContainers" not in pod
    assert volume["image"]["reference"] == "registry.example/me/mine:1"
    assert environment["LOCALRUN_EXTRA_MODELS"] == mount["mountPath"]
    assert mount["readOnly"] is True


def test_no_key_and_no_lock_are_no_objects() -> None:
    names = {file.name for file in kubernetes_files(deployment(), None)}

    assert "secret.yaml" not in names
    assert "lock.yaml" in names
