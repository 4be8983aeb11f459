"""Check of the server's flag for draft models: the name must be a model that is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.services.workspace import Workspace
from localrun.settings import AUTO, NONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from localrun.settings import Settings


def check_setting(settings: Settings, environ: Mapping[str, str]) -> None:
    """Check that the draft model of the settings is on this machine.

    Raises:
        ModelNotFoundError: no model has the name.
        IntegrityError: the model is damaged.
    """
    if settings.draft not in {AUTO, NONE}:
        Workspace(settings, environ).models.find_model(settings.draft)
