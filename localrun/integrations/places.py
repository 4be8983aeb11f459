"""Folders of this user in which tools keep their settings, by the rules of the platform."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Home, configuration and application folders; ``environ`` may name others for one tool."""

    home: Path
    platform: str  # as `sys.platform`
    environ: Mapping[str, str]

    @property
    def config(self) -> Path:
        """Return ``$XDG_CONFIG_HOME`` or ``~/.config``, on every platform."""
        named = self.environ.get("XDG_CONFIG_HOME", "")
        return Path(named) if Path(named).is_absolute() else self.home / ".config"

    @property
    def applications(self) -> Path:
        """Return the folder of desktop programs, such as ``%APPDATA%`` or ``~/.config``."""
        if self.platform == "darwin":
            return self.home / "Library" / "Application Support"
        if self.platform == "win32":
            return Path(self.environ.get("APPDATA") or self.home / "AppData" / "Roaming")
        return self.config

    @property
    def data(self) -> Path:
        """Return the folder of a program's data: ``~/.local/share`` on Linux."""
        if self.platform in {"darwin", "win32"}:
            return self.applications
        named = self.environ.get("XDG_DATA_HOME", "")
        return Path(named) if Path(named).is_absolute() else self.home / ".local" / "share"

    def named(self, variable: str, default: Path) -> Path:
        """Return the folder that a variable names, or its default."""
        named = self.environ.get(variable, "")
        return Path(named).expanduser() if named else default

    def first(self, *paths: Path) -> Path:
        """Return the first path that exists, else the first."""
        return next((path for path in paths if path.exists()), paths[0])
