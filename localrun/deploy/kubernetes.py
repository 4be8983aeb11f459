"""Kubernetes: a Deployment, its Service, and what they need.

    secret.yaml       the API key, only if its file is named; else a command makes it
    lock.yaml         ConfigMap with the lock file of a pulled model
    deployment.yaml   replicas with probes, limits, no privileges
    service.yaml      port 80 of the cluster's network
    autoscaler.yaml   by queued requests, only with a larger number of replicas
    kustomization.yaml

Nothing here needs a custom resource; the autoscaler needs a metrics adapter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.deploy.description import (
    GRACE_S,
    HEALTH,
    LOCK_FILE,
    LOCK_FOLDER,
    METRICS,
    MIB,
    MODEL_IMAGE,
    MODELS,
    PORT,
    READY,
    USER,
    WAITING_METRIC,
    DeployFile,
)
from localrun.deploy.yaml import yaml_text

if TYPE_CHECKING:
    from localrun.deploy.description import Deployment

JsonObject = dict[str, Any]
GPU = "nvidia.com/gpu"
SECRET_FILE = "secret.yaml"  # noqa: S105 - a name
SECRET_KEY = "api-key"  # noqa: S105 - the name of an entry
SERVICE_PORT = 80
STARTUP_S, STARTUP_EVERY_S = 1800, 5
QUEUED_PER_REPLICA = 4
PART_OF = "app.kubernetes.io"


def kubernetes_files(deployment: Deployment, api_key: str | None) -> list[DeployFile]:
    """Return the manifests; the key is in one of its own."""
    objects: dict[str, JsonObject] = {}
    if api_key is not None:
        objects[SECRET_FILE] = _secret(deployment, api_key)
    if deployment.model.lock is not None:
        objects["lock.yaml"] = _lock(deployment, deployment.model.lock)
    objects["deployment.yaml"] = _deployment(deployment)
    objects["service.yaml"] = _service(deployment)
    if deployment.max_replicas is not None:
        objects["autoscaler.yaml"] = _autoscaler(deployment, deployment.max_replicas)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": list(objects),
    }
    files = [
        DeployFile(name=name, text=yaml_text(each), is_private=name == SECRET_FILE)
        for name, each in objects.items()
    ]
    return [*files, DeployFile(name="kustomization.yaml", text=yaml_text(kustomization))]


def secret_name(deployment: Deployment) -> str:
    """Return the name of the Secret that has the API key."""
    return f"{deployment.name}-key"


def _deployment(deployment: Deployment) -> JsonObject:
    spec: JsonObject = {
        "selector": {"matchLabels": _selector(deployment)},
        "strategy": _strategy(deployment),
        "template": {
            "metadata": {
                "labels": _labels(deployment),
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/port": str(PORT),
                    "prometheus.io/path": METRICS,
                },
            },
            "spec": _pod(deployment),
        },
    }
    if deployment.max_replicas is None:  # else the autoscaler owns the number
        spec = {"replicas": deployment.num_replicas, **spec}
    return _object("apps/v1", "Deployment", deployment, deployment.name, spec=spec)


def _strategy(deployment: Deployment) -> JsonObject:
    """Return how pods are replaced: a new one first, unless it would need another card."""
    spare = 0 if deployment.num_gpus else 1
    rule = {"maxSurge": spare, "maxUnavailable": 1 - spare}
    return {"type": "RollingUpdate", "rollingUpdate": rule}


def _pod(deployment: Deployment) -> JsonObject:
    volumes: list[JsonObject] = [
        {"name": "models", "emptyDir": {"sizeLimit": _mib(deployment.disk_bytes)}},
    ]
    pod: JsonObject = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,  # else a service named localrun sets LOCALRUN_ variables
        "terminationGracePeriodSeconds": GRACE_S,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if deployment.model.image is not None:
        image = {"reference": deployment.model.image, "pullPolicy": "IfNotPresent"}
        volumes.append({"name": "model-image", "image": image})
    if deployment.pulls:
        volumes.append({"name": "lock", "configMap": {"name": _lock_name(deployment)}})
        pod["initContainers"] = [_puller(deployment)]
    pod["containers"] = [_server(deployment)]
    pod["volumes"] = volumes
    return pod


def _server(deployment: Deployment) -> JsonObject:
    return {
        "name": "localrun",
        "image": deployment.image,
        "args": deployment.command,
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        "env": [
            *_variables(deployment.environment),
            {
                "name": "LOCALRUN_API_KEY",
                "valueFrom": {"secretKeyRef": {"name": secret_name(deployment), "key": SECRET_KEY}},
            },
        ],
        "resources": _resources(deployment),
        "startupProbe": {
            **_probe(HEALTH),
            "periodSeconds": STARTUP_EVERY_S,
            "failureThreshold": STARTUP_S // STARTUP_EVERY_S,
        },
        "livenessProbe": {**_probe(HEALTH), "periodSeconds": 10, "failureThreshold": 6},
        "readinessProbe": {**_probe(READY), "periodSeconds": 5, "failureThreshold": 2},
        "securityContext": _locked_down(),
        "volumeMounts": [{"name": "models", "mountPath": MODELS}, *_image_mounts(deployment)],
    }


def _image_mounts(deployment: Deployment) -> list[JsonObject]:
    if deployment.model.image is None:
        return []
    return [{"name": "model-image", "mountPath": MODEL_IMAGE, "readOnly": True}]


def _puller(deployment: Deployment) -> JsonObject:
    """Return the container that downloads the locked files before the server starts."""
    return {
        "name": "pull",
        "image": deployment.image,
        "args": deployment.pull_command,
        "env": _variables(deployment.pull_environment),
        "resources": {
            "requests": {"cpu": "100m", "memory": "256Mi"},
            "limits": {"memory": "1024Mi"},
        },
        "securityContext": _locked_down(),
        "volumeMounts": [
            {"name": "models", "mountPath": MODELS},
            {"name": "lock", "mountPath": LOCK_FOLDER, "readOnly": True},
        ],
    }


def _resources(deployment: Deployment) -> JsonObject:
    """Return the plan's memory as request and limit: a pod that was admitted is not killed."""
    memory = _mib(deployment.memory_bytes)
    limits: JsonObject = {"memory": memory}
    if deployment.num_gpus:
        limits[GPU] = deployment.num_gpus
    return {"requests": {"cpu": "1", "memory": memory}, "limits": limits}


def _locked_down() -> JsonObject:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _probe(path: str) -> JsonObject:
    return {"httpGet": {"path": path, "port": "http"}, "timeoutSeconds": 5}


def _service(deployment: Deployment) -> JsonObject:
    port = {"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}
    spec = {"type": "ClusterIP", "selector": _selector(deployment), "ports": [port]}
    return _object("v1", "Service", deployment, deployment.name, spec=spec)


def _autoscaler(deployment: Deployment, most: int) -> JsonObject:
    """Return an autoscaler by the queued requests of a pod, which a metrics adapter serves."""
    metric = {
        "type": "Pods",
        "pods": {
            "metric": {"name": WAITING_METRIC},
            "target": {"type": "AverageValue", "averageValue": str(QUEUED_PER_REPLICA)},
        },
    }
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment.name},
        "minReplicas": deployment.num_replicas,
        "maxReplicas": most,
        "metrics": [metric],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return _object(
        "autoscaling/v2", "HorizontalPodAutoscaler", deployment, deployment.name, spec=spec
    )


def _secret(deployment: Deployment, api_key: str) -> JsonObject:
    return _object(
        "v1",
        "Secret",
        deployment,
        secret_name(deployment),
        type="Opaque",
        stringData={SECRET_KEY: api_key},
    )


def _lock(deployment: Deployment, lock: str) -> JsonObject:
    return _object("v1", "ConfigMap", deployment, _lock_name(deployment), data={LOCK_FILE: lock})


def _lock_name(deployment: Deployment) -> str:
    return f"{deployment.name}-lock"


def _object(
    version: str, kind: str, deployment: Deployment, name: str, **fields: object
) -> JsonObject:
    metadata = {"name": name, "labels": _labels(deployment)}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}


def _selector(deployment: Deployment) -> dict[str, str]:
    return {f"{PART_OF}/name": "localrun", f"{PART_OF}/instance": deployment.name}


def _labels(deployment: Deployment) -> dict[str, str]:
    return {**_selector(deployment), f"{PART_OF}/component": "server"}


def _variables(environment: dict[str, str]) -> list[JsonObject]:
    return [{"name": name, "value": value} for name, value in environment.items()]


def _mib(size: int) -> str:
    return f"{size // MIB}Mi"
