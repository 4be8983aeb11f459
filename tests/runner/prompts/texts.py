"""Texts of a model for tests of templates."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Texts:
    chat_template: str | None
    control_texts: list[str] = field(default_factory=list)
    bos: str = ""
    eos: str = ""
