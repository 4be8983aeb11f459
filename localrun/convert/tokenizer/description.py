"""Content of ``tokenizer.json``: steps, tokens and added tokens.

Steps (normalizers, splitters) may be nested in sequences; they are flattened.

Format: https://huggingface.co/docs/tokenizers
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.convert import folder as folders
from localrun.convert.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TOKENIZER_FILE = "tokenizer.json"
DEEPEST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedToken:
    """A token that is matched in text before the other tokens."""

    id: int
    text: str
    is_special: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """The parts of a ``tokenizer.json``."""

    model: Config
    normalizers: tuple[Config, ...]
    splitters: tuple[Config, ...]
    finishers: tuple[Config, ...]
    added: tuple[AddedToken, ...]

    @property
    def where(self) -> str:
        """Return the file's path."""
        return self.model.where

    def vocabulary(self) -> dict[int, str]:
        """Return the tokens of the model by id.

        Raises:
            IntegrityError: an id is not a number, or is repeated.
        """
        texts: dict[int, str] = {}
        for text, index in self.model.inner("vocab").values.items():
            if type(index) is not int or index in texts:
                raise self.model.wrong("vocab", "an object of different numbers")
            texts[index] = text
        return texts


def read_description(folder: Path) -> Description | None:
    """Return the content of the folder's ``tokenizer.json``, or None if it does not exist.

    Raises:
        IntegrityError: the file is malformed.
    """
    path = folders.find(folder, TOKENIZER_FILE)
    if path is None:
        return None
    root = Config(folders.read_json(path), str(folder / TOKENIZER_FILE))
    added = root.raw("added_tokens") or []
    if not isinstance(added, list):
        raise root.wrong("added_tokens", "a list of objects")
    return Description(
        model=root.inner("model"),
        normalizers=tuple(_steps(root.inner("normalizer"), "normalizers")),
        splitters=tuple(_steps(root.inner("pre_tokenizer"), "pretokenizers")),
        finishers=tuple(_steps(root.inner("post_processor"), "processors")),
        added=tuple(_added(entry, root) for entry in added),
    )


def _steps(step: Config, inner: str, depth: int = DEEPEST) -> Iterator[Config]:
    if step.raw("type") != "Sequence":
        if step.values:
            yield step
        return
    entries = step.raw(inner)
    if not isinstance(entries, list) or depth == 0:
        raise step.wrong(inner, "a list, not nested too deep")
    for entry in entries:
        if not isinstance(entry, dict):
            raise step.wrong(inner, "a list of objects")
        yield from _steps(Config(entry, step.where), inner, depth - 1)


def _added(entry: object, root: Config) -> AddedToken:
    if not isinstance(entry, dict):
        raise root.wrong("added_tokens", "a list of objects")
    values = Config(entry, f"{root.where}: added_tokens")
    index = values.raw("id")
    if type(index) is not int:
        raise values.wrong("id", "a number")
    return AddedToken(
        id=index, text=values.text("content"), is_special=values.flag("special", default=False)
    )
