"""``localrun deploy``: files for machines that run localrun, printed and never run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from localrun import __version__
from localrun.cli.completion import complete_model
from localrun.cli.deploying.printing import print_files
from localrun.cli.options import AsJson, ContextOption

if TYPE_CHECKING:
    from collections.abc import Callable

    from localrun.deploy.description import Deployment

ABOUT_DEPLOY = "Print files that run a model elsewhere: Kubernetes, Compose, Quadlet, Ray Serve."
DEFAULT_IMAGE = f"localrun:{__version__}"
LOCAL_IMAGE = f"localhost/{DEFAULT_IMAGE}"  # as podman names images of its own
Model = Annotated[str, Argument(help="Model of this machine.", autocompletion=complete_model)]
Name = Annotated[str | None, Option(help="Name of the objects; default: from the model's name.")]
Image = Annotated[
    str, Option(help="Image that scripts/build-image wrote, where the machines pull it.")
]
ModelImage = Annotated[
    str | None, Option(metavar="IMAGE", help="Image with the model, of `push --as-image`.")
]
Gpus = Annotated[int, Option("--gpu", metavar="N", help="NVIDIA GPUs of each replica.")]
Replicas = Annotated[int, Option(metavar="N", help="Number of replicas.")]
MaxReplicas = Annotated[
    int | None, Option(metavar="N", help="Scale up to so many by the queued requests.")
]
PerMachine = Annotated[int | None, Option(metavar="N", help="Replicas on one machine at most.")]
KeyFile = Annotated[
    str | None, Option(metavar="FILE", help="File with the API key that clients send.")
]
Parallel = Annotated[
    int | None, Option(min=1, max=256, help="Requests that a replica computes at once.")
]
Folder = Annotated[
    str | None, Option("--output", "-o", metavar="DIR", help="Write the files to a folder.")
]
Force = Annotated[bool, Option("--force", help="Replace files of other content.")]


def deploy_kubernetes(  # noqa: PLR0913 - one parameter a flag
    model: Model,
    *,
    name: Name = None,
    image: Image = DEFAULT_IMAGE,
    replicas: Replicas = 1,
    max_replicas: MaxReplicas = None,
    model_image: ModelImage = None,
    gpu: Gpus = 0,
    ctx: ContextOption = None,
    parallel: Parallel = None,
    key_file: KeyFile = None,
    output: Folder = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Print a Deployment, a Service and what they need; nothing is applied.

    Probes, memory limits from the plan, no privileges, a read-only root, the key as
    a Secret, and an autoscaler by queued requests with --max-replicas.

    Example: localrun deploy kubernetes qwen3:0.6b --replicas 2 -o k8s
    """
    from localrun.deploy.description import WAITING_METRIC
    from localrun.deploy.kubernetes import SECRET_KEY, kubernetes_files, secret_name

    deployment = _described(
        model,
        name,
        image,
        gpu,
        ctx,
        parallel,
        replicas=replicas,
        max_replicas=max_replicas,
        model_image=model_image,
    )
    key = _key(key_file)
    notes = [_image_note(deployment)]
    if key is None:
        notes.append(
            f"the key: kubectl create secret generic {secret_name(deployment)} "
            f"--from-literal={SECRET_KEY}=$(openssl rand -hex 32)"
        )
    if max_replicas is not None:
        notes.append(f"the autoscaler needs a metrics adapter that serves {WAITING_METRIC}")
    if output is not None:
        notes.append(f"apply it: kubectl apply -k {output}")
    files = kubernetes_files(deployment, key)
    print_files(files, notes, folder=output, is_forced=force, as_json=as_json, is_stream=True)


def deploy_compose(  # noqa: PLR0913 - one parameter a flag
    model: Model,
    *,
    name: Name = None,
    image: Image = DEFAULT_IMAGE,
    gpu: Gpus = 0,
    ctx: ContextOption = None,
    parallel: Parallel = None,
    key_file: KeyFile = None,
    output: Folder = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Print a compose.yaml for one host; nothing is started.

    Example: localrun deploy compose qwen3:0.6b --key-file key -o server
    """
    from localrun.deploy.compose import KEY_FILE, compose_files

    deployment = _described(model, name, image, gpu, ctx, parallel)
    key = _key(key_file)
    notes = [_image_note(deployment)]
    if key is None:
        notes.append(f'the key: echo "deploy $(openssl rand -hex 32)" > {KEY_FILE}')
    if output is not None:
        notes.append(f"start it: docker compose -f {output}/compose.yaml up -d")
    files = compose_files(deployment, key)
    print_files(files, notes, folder=output, is_forced=force, as_json=as_json)


def deploy_quadlet(  # noqa: PLR0913 - one parameter a flag
    model: Model,
    *,
    name: Name = None,
    image: Image = LOCAL_IMAGE,
    model_image: ModelImage = None,
    gpu: Gpus = 0,
    ctx: ContextOption = None,
    parallel: Parallel = None,
    output: Folder = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Print units of systemd that podman runs; nothing is started.

    The key is a secret of podman, so that no unit has it.

    Example: localrun deploy quadlet qwen3:0.6b -o ~/.config/containers/systemd
    """
    from localrun.deploy.quadlet import quadlet_files, secret_of

    deployment = _described(model, name, image, gpu, ctx, parallel, model_image=model_image)
    notes = [
        _image_note(deployment),
        f"the key: openssl rand -hex 32 | podman secret create {secret_of(deployment)} -",
    ]
    if output is not None:
        start = f"systemctl --user start {deployment.name}"
        notes.append(f"start it: systemctl --user daemon-reload; {start}")
    files = quadlet_files(deployment)
    print_files(files, notes, folder=output, is_forced=force, as_json=as_json)


def deploy_ray(  # noqa: PLR0913 - one parameter a flag
    model: Model,
    *,
    name: Name = None,
    replicas: Replicas = 2,
    max_replicas: MaxReplicas = None,
    per_machine: PerMachine = None,
    gpu: Gpus = 0,
    ctx: ContextOption = None,
    parallel: Parallel = None,
    output: Folder = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Print an application for Ray Serve; nothing is started.

    Replicas on several machines behind one address. Ray listens on all interfaces:
    the printed README.md says what to do first.

    Example: localrun deploy ray qwen3:0.6b --replicas 2 --gpu 1 -o ray
    """
    from localrun.deploy.ray import ray_files

    deployment = _described(
        model, name, DEFAULT_IMAGE, gpu, ctx, parallel, replicas=replicas, max_replicas=max_replicas
    )
    notes = ["Ray listens on all interfaces: read README.md before ray start"]
    files = ray_files(deployment, per_machine)
    print_files(files, notes, folder=output, is_forced=force, as_json=as_json)


def _described(  # noqa: PLR0913 - one parameter a flag
    model: str,
    name: str | None,
    image: str,
    gpu: int,
    ctx: str | None,
    parallel: int | None,
    *,
    replicas: int = 1,
    max_replicas: int | None = None,
    model_image: str | None = None,
) -> Deployment:
    import os

    from localrun.cli.options import parse_context
    from localrun.services.deploying.describing import DeployOptions, describe_deployment
    from localrun.services.workspace import open_workspace

    options = DeployOptions(
        image=image,
        name=name,
        num_replicas=replicas,
        max_replicas=max_replicas,
        num_gpus=gpu,
        num_ctx=parse_context(ctx),
        num_parallel=parallel,
        model_image=model_image,
    )
    return describe_deployment(open_workspace(os.environ), model, options)


def _key(file: str | None) -> str | None:
    from localrun.services.deploying.describing import read_api_key

    return None if file is None else read_api_key(file)


def _image_note(deployment: Deployment) -> str:
    if deployment.image in {DEFAULT_IMAGE, LOCAL_IMAGE}:
        return (
            f"the image {deployment.image} is what scripts/build-image writes; --image names yours"
        )
    return f"the image is {deployment.image}"


DEPLOY_COMMANDS: dict[str, Callable[..., None]] = {
    "kubernetes": deploy_kubernetes,
    "compose": deploy_compose,
    "quadlet": deploy_quadlet,
    "ray": deploy_ray,
}
