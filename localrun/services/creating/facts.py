"""Facts that a client states about a model: checked against the model's files, never trusted.

Ollama's ``/api/create`` has them as ``info``. The file's own header decides how the model is run,
so a fact that differs is an error and not an override.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.chat.gotemplate.recognition import is_go_template
from localrun.errors import UsageError
from localrun.gguf.header import read_header
from localrun.services.capabilities import (
    projector_capabilities,
    projector_inputs,
    template_capabilities,
    weights_capabilities,
)
from localrun.services.index.headers import describe_header
from localrun.services.recipes import to_jinja
from localrun.store.manifest import Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.services.creating.parts import ModelParts, PartCollector
    from localrun.services.recipes import StoredRecipe


def check_facts(
    collector: PartCollector, parts: ModelParts, recipe: StoredRecipe, facts: Mapping[str, object]
) -> None:
    """Check the facts stated about a model that is being created.

    Raises:
        UsageError: a file contradicts a fact; the error names the fact.
    """
    if not facts:
        return
    known = _known(collector, parts, recipe)
    for name, stated in facts.items():
        actual = known.get(name)
        if name == "capabilities" and isinstance(stated, list) and isinstance(actual, list):
            is_right = set(map(str, stated)) <= set(actual)
        else:
            is_right = stated == actual
        if not is_right:
            raise UsageError(
                f"info.{name} is {str(stated)[:100]!r}, but the model's file states {actual!r}",
                hint=f"leave info.{name} out: it is read from the file",
                param=f"info.{name}",
            )


def _known(collector: PartCollector, parts: ModelParts, recipe: StoredRecipe) -> dict[str, object]:
    blobs = collector.workspace.store.blobs
    header = read_header(blobs.path(parts.weights[0].digest))
    details, template = describe_header(header), recipe.template
    if template is None:
        template = header.text("tokenizer.chat_template")
    elif is_go_template(template):
        template = to_jinja(template)
    projectors = [read_header(blobs.path(part.digest)) for part in parts.files[Role.PROJECTOR]]
    own = weights_capabilities(header)
    return {
        "base_name": header.text("general.basename"),
        "capabilities": [
            *own,
            *template_capabilities(own, template),
            *projector_capabilities(map(projector_inputs, projectors)),
        ],
        "context_length": details.context_length,
        "embedding_length": details.embedding_length,
        "model_family": details.family,
        "parameter_size": details.parameter_size,
        "quantization_level": details.quantization_level,
    }
