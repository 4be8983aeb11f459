"""Target of a connection: the server's address, a reference to its key, and a model for each role.

A key is never written to a file: the files of a tool name the variable `KEY_VARIABLE` in the tool's
own way, or hold `NO_KEY` if the server requires none.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

KEY_VARIABLE = "LOCALRUN_API_KEY"
NO_KEY = "local"  # any text: tools want a key, the server does not look at it
PROVIDER = "localrun"  # the name of our entry in every file
AGENT_CONTEXT = 32768  # tokens: instructions, tools and some files
CHAT_CONTEXT = 4096
MOST_OUTPUT = 8192


class ModelRole(StrEnum):
    """What a tool uses a model for."""

    CHAT = "chat"
    EDIT = "edit"
    AUTOCOMPLETE = "autocomplete"
    EMBED = "embed"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleModel:
    """A model of the server; the context in tokens is the one that requests get."""

    name: str
    context: int
    capabilities: tuple[str, ...] = ()
    is_context_known: bool = True  # else it is the trained one, which may be cut

    @property
    def calls_tools(self) -> bool:
        """Return whether the model's template has tools."""
        return "tools" in self.capabilities

    @property
    def sees(self) -> bool:
        """Return whether the model accepts images."""
        return "vision" in self.capabilities

    @property
    def thinks(self) -> bool:
        """Return whether the model writes reasoning on demand."""
        return "thinking" in self.capabilities

    @property
    def max_output(self) -> int:
        """Return the tokens of an answer that leave most of the context to the prompt."""
        return max(256, min(MOST_OUTPUT, self.context // 4))


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A running server as a tool sees it."""

    url: str  # without a path
    chat: RoleModel
    edit: RoleModel
    autocomplete: RoleModel | None = None
    embed: RoleModel | None = None
    needs_key: bool = False

    @property
    def openai_url(self) -> str:
        """Return the base URL of OpenAI's API."""
        return f"{self.url}/v1"

    def key(self, reference: str) -> str:
        """Return how a file names the key; ``reference`` is the tool's way to name a variable."""
        return reference if self.needs_key else NO_KEY

    def models(self) -> dict[ModelRole, RoleModel]:
        """Return the models by role, without the roles that have none."""
        every = {
            ModelRole.CHAT: self.chat,
            ModelRole.EDIT: self.edit,
            ModelRole.AUTOCOMPLETE: self.autocomplete,
            ModelRole.EMBED: self.embed,
        }
        return {role: model for role, model in every.items() if model is not None}
