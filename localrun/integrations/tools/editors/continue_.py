"""Continue: assistant for VS Code and JetBrains, and the ``cn`` command.

``~/.continue/config.yaml``: https://docs.continue.dev/reference. A key stands in
``~/.continue/.env`` and is named ``${{ secrets.NAME }}``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.integrations.edits import Edit, Item
from localrun.integrations.formats.documents import FileFormat
from localrun.integrations.target import KEY_VARIABLE, Role
from localrun.integrations.tool import FileSettings, Launch, Probe, Tool

if TYPE_CHECKING:
    from localrun.integrations.edits import Json
    from localrun.integrations.places import Places
    from localrun.integrations.target import RoleModel, Target

DEFAULTS = {"name": "Local", "version": "1.0.0", "schema": "v1"}
ROLES: dict[Role, list[Json]] = {
    Role.CHAT: ["chat"],
    Role.EDIT: ["edit", "apply"],
    Role.AUTOCOMPLETE: ["autocomplete"],
    Role.EMBED: ["embed"],
}


def _model(target: Target, role: Role, model: RoleModel) -> Edit:
    fills_gaps = role is Role.AUTOCOMPLETE  # its Ollama client leaves the prompt to the server
    fields: dict[str, Json] = {
        "provider": "ollama" if fills_gaps else "openai",
        "model": model.name,
        "apiBase": target.url if fills_gaps else target.openai_url,
        "apiKey": target.key(f"${{{{ secrets.{KEY_VARIABLE} }}}}"),
        "roles": ROLES[role],
    }
    if role in {Role.CHAT, Role.EDIT}:
        fields["defaultCompletionOptions"] = {
            "contextLength": model.context,
            "maxTokens": model.max_output,
        }
    if role is Role.CHAT and model.calls_tools:
        fields["capabilities"] = ["tool_use", *(["image_input"] if model.sees else [])]
    return Edit(path=("models", Item("name", f"localrun {role.value}")), value=fields)


def _settings(target: Target, places: Places) -> tuple[FileSettings, ...]:
    folder = places.named("CONTINUE_GLOBAL_DIR", places.home / ".continue")
    edits = [Edit(path=(key,), value=value, is_default=True) for key, value in DEFAULTS.items()]
    edits += [_model(target, role, model) for role, model in target.models().items()]
    path = folder / "config.yaml"
    return (FileSettings(path=path, edits=tuple(edits), format=FileFormat.YAML),)


TOOL = Tool(
    name="continue",
    title="Continue",
    checked="cn 1.5.47",
    is_started=True,
    roles=tuple(Role),
    needs_tools=True,
    context=8192,
    probes=(Probe.CHAT_TOOLS, Probe.OLLAMA_GENERATE, Probe.EMBEDDINGS),
    program="cn",
    install=(("npm", "install", "-g", "@continuedev/cli"),),
    settings=_settings,
    launch=lambda _: Launch(),
    launch_needs_settings=True,
    key_note=f"write {KEY_VARIABLE}=KEY into ~/.continue/.env",
)
