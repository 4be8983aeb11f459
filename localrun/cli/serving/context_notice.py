"""Notice of ``run`` that the context of a model is smaller than the model was trained with.

Shown once for each model, and only if the server chose the context. An empty file in the cache
folder records it:

    notices/context-<digest of the model>
"""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from localrun.cli.output import Output, is_terminal
from localrun.client.launch import find_server
from localrun.errors import LocalrunError
from localrun.private import make_private_folder

if TYPE_CHECKING:
    from localrun.services.stored_model import StoredModel
    from localrun.settings import Settings

NEVER_CUT = 4096  # tokens: no plan has a shorter context, unless the model's own is
DIGEST_LENGTH = 32


def note_small_context(settings: Settings, model: StoredModel) -> None:
    """Print the notice for a model that the server has loaded; on a terminal only."""
    trained = model.details.context_length or 0
    is_shown = is_terminal(sys.stdout) and is_terminal(sys.stderr)
    if not is_shown or trained <= NEVER_CUT or model.recipe.parameter("num_ctx"):
        return
    digest = model.digest.rpartition(":")[2][:DIGEST_LENGTH]
    record = settings.notices_dir / f"context-{digest}"
    if record.exists():
        return
    context = _chosen_context(settings, model.name)
    if context is None or context >= trained:
        return
    try:
        make_private_folder(record.parent)
        record.touch(exist_ok=False)
    except OSError:  # said by another command meanwhile, or it would be said every time
        return
    Output().aside(
        f"(the context is {context} of the model's {trained} tokens: --ctx {trained} raises it, "
        "LOCALRUN_CONTEXT_LENGTH for the server)"
    )


def _chosen_context(settings: Settings, name: str) -> int | None:
    """Return the context of a loaded model, None if a user chose it or the model is gone."""
    with contextlib.suppress(LocalrunError):
        client = find_server(settings)
        explanation = client.why(name) if client is not None else {}
        for setting in explanation.get("settings", []):
            if setting["name"] == "context" and setting["source"] == "plan":
                return int(explanation["context"])
    return None
