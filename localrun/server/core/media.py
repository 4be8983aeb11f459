"""Media of a request: whether its model takes them, before anything is loaded for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localrun.errors import NetworkError, UsageError
from localrun.media.kinds import kind_of
from localrun.remote.model import EngineKind

if TYPE_CHECKING:
    from localrun.registry.addressed import AddressedFiles
    from localrun.runner.messages import PromptSpec
    from localrun.services.stored_model import StoredModel

MAX_SHOWN = 200  # characters of an address
HEARS = "hf.co/ggml-org/ultravox-v0_5-llama-3_2-1b-GGUF"  # small, and its projector is beside it
READS_DOCUMENTS = {EngineKind.LOCALRUN, EngineKind.OPENAI}
NEEDS = {"image": ("an image", "vision"), "sound": ("a sound", "audio")}


def check_media(prompt: PromptSpec, model: StoredModel, files: AddressedFiles) -> None:
    """Check that a model takes all media of a prompt, and fetch those behind addresses; blocks.

    Raises:
        UsageError: the model has no encoder for one of them, or its address is not allowed, or not
            answered.
        OverloadedError: too many files are being fetched.
    """
    for medium in prompt.all_media:
        _check_taken(medium, model)
        url = medium.get("url")
        if url is not None:
            medium["data"] = _fetched(url, medium["place"], files)
            medium.pop("url", None)  # other answers to the same prompt may have removed it
            _check_taken(medium, model)


def _fetched(url: str, place: str, files: AddressedFiles) -> bytes:
    """Return the content of an address.

    Raises:
        UsageError: the host is not listed, not public, or does not answer.
    """
    if not files.allows(url):
        raise UsageError(
            f"{place} is an address, {url[:MAX_SHOWN]}, whose host is not in"
            " LOCALRUN_FETCH_IMAGES of the server",
            hint="send the content as a data: URL in base64, or start the server with"
            " LOCALRUN_FETCH_IMAGES=HOST",
            param=place,
        )
    try:
        return files.fetch(url)
    except NetworkError as error:
        raise UsageError(f"{place} cannot be fetched: {error.message}", param=place) from error


def check_hears(model: StoredModel) -> None:
    """Check that a model takes sounds.

    Raises:
        UsageError: it does not; the hint names one that does.
    """
    if "audio" not in model.details.capabilities:
        raise UsageError(
            f"{model.name} does not hear: only a model with audio support can transcribe",
            hint=f"localrun pull {HEARS}   gets one; localrun show MODEL   shows capabilities",
            param="model",
        )


def _check_taken(medium: dict[str, Any], model: StoredModel) -> None:
    """Check a medium against the capabilities of a model, by its bytes or else by what it may be.

    Raises:
        UsageError: the model has no encoder for it; the error names its place and the model.
    """
    data = medium.get("data")
    _check_document(medium, model)
    found = kind_of(data) if isinstance(data, bytes) else None
    kind = found.kind if found is not None else medium["expected"]
    content, capability = NEEDS.get(kind, ("", ""))
    if capability and capability not in model.details.capabilities:
        reads_media = any(one in model.details.capabilities for _, one in NEEDS.values())
        reads_text = "" if reads_media else ": it reads text only"
        raise UsageError(
            f"{medium['place']} contains {content}, and {model.name} has no {capability} support"
            f" here{reads_text}",
            param=medium["place"],
            hint=f"localrun show {model.name}   shows its capabilities"
            if model.remote is None
            else f"add the model again with --capability completion --capability {capability}, if"
            " its engine takes that",
        )


def _check_document(medium: dict[str, Any], model: StoredModel) -> None:
    """Check that the engine of a remote model reads documents.

    Raises:
        UsageError: the medium is a document, which few engines read.
    """
    data = medium.get("data")
    found = kind_of(data) if isinstance(data, bytes) else None
    kind = found.kind if found is not None else medium["expected"]
    is_document = kind not in NEEDS
    if model.remote is not None and is_document and model.remote.engine not in READS_DOCUMENTS:
        raise UsageError(
            f"{medium['place']} is a document, and the engine of the remote model {model.name}"
            " reads none",
            hint="send its text",
            param=medium["place"],
        )
