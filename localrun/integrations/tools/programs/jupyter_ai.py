"""Jupyter AI 3 with Jupyternaut: ``jupyter_ai/config.json`` in Jupyter's data folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.target import KEY_VARIABLE, NO_KEY, ModelRole
from localrun.integrations.tool import FileSettings, Integration, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import Target


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    name = f"openai/{target.chat.name}"
    parameters: dict[str, Json] = {
        "api_base": target.openai_url,
        "api_key": "" if target.needs_key else NO_KEY,  # empty: the variable counts
    }
    edits = [
        Edit(path=("model_provider_id",), value=name),
        Edit(path=("fields", name), value=parameters),
        Edit(
            path=("custom_models", Item("name", "localrun")),
            value={"model_id": name, "params": dict(parameters)},
        ),
        Edit(
            path=("custom_models", Item("name", "localrun"), "id"),
            value=f"custom-localrun/{name}",
            is_default=True,
        ),
    ]
    if target.embed is not None:
        embedder = f"openai/{target.embed.name}"
        edits.append(Edit(path=("embeddings_provider_id",), value=embedder))
        edits.append(Edit(path=("embeddings_fields", embedder), value=dict(parameters)))
    folder = {
        "darwin": places.home / "Library" / "Jupyter",
        "win32": places.applications / "jupyter",
    }.get(places.platform, places.data / "jupyter")
    folder = places.named("JUPYTER_DATA_DIR", folder)
    return (FileSettings(path=folder / "jupyter_ai" / "config.json", edits=tuple(edits)),)


TOOL = Integration(
    name="jupyter-ai",
    title="Jupyter AI",
    checked="the schema of 3.2",
    roles=(ModelRole.CHAT, ModelRole.EMBED),
    context=8192,
    probes=(ProbeKind.CHAT_TOOLS, ProbeKind.EMBEDDINGS),
    settings=_settings,
    key_note=f'export OPENAI_API_KEY="${KEY_VARIABLE}" before `jupyter lab`',
)
