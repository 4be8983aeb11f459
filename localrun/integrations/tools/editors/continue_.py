"""Continue: assistant for VS Code and JetBrains, and the ``cn`` command.

``~/.continue/config.yaml``: https://docs.continue.dev/reference. A key stands in
``~/.continue/.env`` and is named ``${{ secrets.NAME }}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import KEY_VARIABLE, ModelRole
from localrun.integrations.tool import FileSettings, Integration, Launch, ProbeKind

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import RoleModel, Target

DEFAULTS = {"name": "Local", "version": "1.0.0", "schema": "v1"}
ROLES: dict[ModelRole, list[Json]] = {
    ModelRole.CHAT: ["chat"],
    ModelRole.EDIT: ["edit", "apply"],
    ModelRole.AUTOCOMPLETE: ["autocomplete"],
    ModelRole.EMBED: ["embed"],
}


def _model(target: Target, role: ModelRole, model: RoleModel) -> Edit:
    fills_gaps = role is ModelRole.AUTOCOMPLETE  # its Ollama client leaves the prompt to the server
    fields: dict[str, Json] = {
        "provider": "ollama" if fills_gaps else "openai",
        "model": model.name,
        "apiBase": target.url if fills_gaps else target.openai_url,
        "apiKey": target.key(f"${{{{ secrets.{KEY_VARIABLE} }}}}"),
        "roles": ROLES[role],
    }
    if role in {ModelRole.CHAT, ModelRole.EDIT}:
        fields["defaultCompletionOptions"] = {
            "contextLength": model.context,
            "maxTokens": model.max_output,
        }
    if role is ModelRole.CHAT and model.calls_tools:
        fields["capabilities"] = ["tool_use", *(["image_input"] if model.sees else [])]
    return Edit(path=("models", Item("name", f"localrun {role.value}")), value=fields)


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    folder = places.named("CONTINUE_GLOBAL_DIR", places.home / ".continue")
    edits = [Edit(path=(key,), value=value, is_default=True) for key, value in DEFAULTS.items()]
    edits += [_model(target, role, model) for role, model in target.models().items()]
    path = folder / "config.yaml"
    return (FileSettings(path=path, edits=tuple(edits), format=FileFormat.YAML),)


TOOL = Integration(
    name="continue",
    title="Continue",
    checked="cn 1.5.47",
    is_started=True,
    roles=tuple(ModelRole),
    needs_tools=True,
    context=8192,
    probes=(ProbeKind.CHAT_TOOLS, ProbeKind.OLLAMA_GENERATE, ProbeKind.EMBEDDINGS),
    program="cn",
    install=(("npm", "install", "-g", "@continuedev/cli"),),
    settings=_settings,
    launch=lambda _: Launch(),
    launch_needs_settings=True,
    key_note=f"write {KEY_VARIABLE}=KEY into ~/.continue/.env",
)
