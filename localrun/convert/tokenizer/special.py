"""Special tokens of a tokenizer, and the chat template.

Ids by role (BOS, EOS, ...), and whether BOS and EOS are added to a text.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from localrun.convert import folder as folders
from localrun.convert.config import Config, read_config

if TYPE_CHECKING:
    from pathlib import Path

    import gguf

    from localrun.convert.tokenizer.description import Description
    from localrun.convert.tokenizer.vocabulary import TokenizerVocabulary

TEMPLATE_FILE = "chat_template.jinja"
ROLES = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")


@dataclass(frozen=True, slots=True, kw_only=True)
class Special:
    """Ids by role, and whether they are added to a text."""

    ids: dict[str, int]
    adds: dict[str, bool]


def read_special(
    folder: Path, vocabulary: TokenizerVocabulary, config: Config, description: Description | None
) -> Special:
    """Return the special tokens of a model."""
    tokenizer_config = read_config(folder, "tokenizer_config.json")
    others = read_config(folder, "special_tokens_map.json")
    texts: dict[str, str] = {}
    ids: dict[str, int] = {}
    by_text = {text: index for index, text in enumerate(vocabulary.tokens)}
    for role in ROLES:
        text = _text(tokenizer_config, role) or _text(others, role)
        index = by_text.get(text) if text else _numbered(config, role)
        if index is not None and 0 <= index < len(vocabulary.tokens):
            texts[role], ids[role] = vocabulary.tokens[index], index
    if vocabulary.kind == "bert" or "bos" not in ids:  # llama.cpp uses BERT's [CLS] as BOS
        ids |= {"bos": ids["cls"]} if "cls" in ids else {}
        texts |= {"bos": texts["cls"]} if "cls" in texts else {}
    adds = _adds(vocabulary, tokenizer_config, texts, description)
    return Special(ids={role: ids[role] for role in ROLES if role in ids}, adds=adds)


def write_special(writer: gguf.GGUFWriter, special: Special) -> None:
    """Write the ids, and whether they are added to a text."""
    add = {
        "bos": writer.add_bos_token_id,
        "eos": writer.add_eos_token_id,
        "unk": writer.add_unk_token_id,
        "sep": writer.add_sep_token_id,
        "pad": writer.add_pad_token_id,
        "mask": writer.add_mask_token_id,
    }
    for role, index in special.ids.items():
        if role in add:
            add[role](index)
    for role, value in special.adds.items():
        writer.add_bool(f"tokenizer.ggml.add_{role}_token", value)


def read_templates(folder: Path) -> str | list[dict[str, str]] | None:
    """Return the chat template, several with their names, or None.

    Raises:
        IntegrityError: the value is neither a text nor a list of named templates.
    """
    path = folders.find(folder, TEMPLATE_FILE)
    if path is not None:
        return folders.read_text(path)
    config = read_config(folder, "tokenizer_config.json")
    templates = config.raw("chat_template")
    if templates is None or isinstance(templates, str):
        return templates
    if not isinstance(templates, list) or not all(isinstance(entry, dict) for entry in templates):
        raise config.wrong("chat_template", "a text, or a list of templates with names")
    entries = [Config(entry, f"{config.where}: chat_template") for entry in templates]
    return [{key: entry.text(key) for key in ("name", "template")} for entry in entries]


def _text(config: Config, role: str) -> str | None:
    """Return the text of a special token, which may be in an object."""
    key = f"{role}_token"
    if isinstance(config.raw(key), dict):
        return config.inner(key).text("content")
    return config.text(key) if config.has(key) else None


def _numbered(config: Config, role: str) -> int | None:
    token_id = config.raw(f"{role}_token_id")
    if isinstance(token_id, list) and token_id:
        token_id = token_id[0]
    return token_id if type(token_id) is int else None


def _adds(
    vocabulary: TokenizerVocabulary,
    tokenizer_config: Config,
    texts: dict[str, str],
    description: Description | None,
) -> dict[str, bool]:
    """Return which tokens are added to a text: by the settings, else by ``tokenizer.json``."""
    if vocabulary.kind == "bert":
        return {}  # llama.cpp always adds [CLS] and [SEP]
    first, last = _edges(description)
    is_sentencepiece = vocabulary.kind == "llama" and not (description and description.finishers)
    bos = texts.get("bos") in first if first else is_sentencepiece
    eos = bool(last) and texts.get("eos") in last
    if tokenizer_config.has("add_bos_token"):
        bos = tokenizer_config.flag("add_bos_token", default=bos)
    if tokenizer_config.has("add_eos_token"):
        eos = tokenizer_config.flag("add_eos_token", default=eos)
    # without an id llama.cpp would add another token, or end the process
    return {"bos": bos and "bos" in texts, "eos": eos and "eos" in texts}


def _edges(description: Description | None) -> tuple[set[str], set[str]]:
    """Return the texts of the tokens that are added before and behind a text."""
    first: set[str] = set()
    last: set[str] = set()
    for step in description.finishers if description else ():
        if step.raw("type") == "TemplateProcessing":
            before, after = _template_edges(step)
        elif str(step.raw("type")) in {"BertProcessing", "RobertaProcessing"}:
            before, after = ({_named(step.raw(key))} for key in ("cls", "sep"))
        else:
            continue
        first |= before
        last |= after
    return first, last


def _template_edges(step: Config) -> tuple[set[str], set[str]]:
    before: set[str] = set()
    after: set[str] = set()
    edge = before
    parts = step.raw("single")
    if not isinstance(parts, list):
        raise step.wrong("single", "a list")
    for part in parts:
        entry = part if isinstance(part, dict) else {}
        if "Sequence" in entry:
            edge = after
        else:
            edge.add(Config(entry, step.where).inner("SpecialToken").text("id"))
    return before, after


def _named(pair: object) -> str:
    """Return the text of a pair of text and id; empty if malformed."""
    return str(pair[0]) if isinstance(pair, list) and pair else ""
