"""The body of ``/api/create`` as the text of a recipe, which says the same.

Either ``modelfile``, or the fields of later versions: from or files, adapters, draft_files,
template, system, license, parameters, messages. Files are named by the digests of uploaded
blobs. ``info`` would describe a model in other words than its file, and is refused.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from localrun.errors import LocalrunError
from localrun.modelfile.known import KNOWN, LISTS
from localrun.modelfile.parameters import ParameterError, format_parameter, parse_parameter
from localrun.modelfile.parse import parse_modelfile
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage
from localrun.modelfile.write import write_modelfile
from localrun.server.parsing.limits import LONGEST_MODELFILE, MOST_STOPS, messages
from localrun.services.creating.uploads import ADAPTER_FOLDER, DRAFT_FOLDER, FILES_FOLDER

if TYPE_CHECKING:
    from localrun.modelfile.parameters import ParameterValue
    from localrun.modelfile.recipe import Role
    from localrun.server.parsing.fields import Fields, JsonObject

DIGEST = re.compile(r"sha256[:-]([0-9a-fA-F]{64})", re.ASCII)
ROLES = ("system", "user", "assistant")
REFUSED = ("path", "remote_host")
MOST_FILES = 1000
TEXT_FACTS = ("base_name", "model_family", "parameter_size", "quantization_level")
NUMBER_FACTS = ("context_length", "embedding_length")
LONGEST_FACT = 1000  # characters
MOST_CAPABILITIES = 100


def recipe_order(fields: Fields) -> JsonObject:
    """Return what a job needs to create the model of a request.

    Raises:
        UsageError: a field is wrong or cannot be honoured; the error names it.
    """
    for name in REFUSED:
        if fields.raw(name):
            raise fields.wrong(name, "is not supported")
    files, adapters = _digests(fields, "files"), _digests(fields, "adapters")
    written = fields.text("modelfile", longest=LONGEST_MODELFILE)
    if written is None:
        recipe = _from_fields(fields, files, adapters)
    else:
        recipe = _from_text(fields, written)
    drafts = _digests(fields, "draft_files")
    if drafts:
        recipe = replace(recipe, draft=_draft_path(drafts))
    draft_quantize = fields.text("draft_quantize") or None
    if draft_quantize is not None and recipe.draft is None:
        raise fields.wrong("draft_quantize", "needs draft_files")
    _check_lists(fields, recipe)
    try:
        text = write_modelfile(recipe)
    except LocalrunError as error:
        raise fields.wrong("modelfile", f"cannot be used: {error.message}") from error
    return {
        "modelfile": text,
        "files": {} if _all_gguf(files) else files,
        "adapters": {} if _all_gguf(adapters) else adapters,
        "drafts": {} if _is_one_gguf(drafts) else drafts,
        "blobs": [*files.values(), *adapters.values(), *drafts.values()],
        "quantize": fields.text("quantize") or fields.text("quantization") or None,
        "draft_quantize": draft_quantize,
        "facts": _facts(fields.inner("info")),
    }


def _facts(info: Fields) -> JsonObject:
    """Return what the request states of the model, which the job checks."""
    names = ("capabilities", *TEXT_FACTS, *NUMBER_FACTS)
    unknown = next((name for name in info.all() if name not in names), None)
    if unknown is not None:
        raise info.wrong(unknown[:100], f"is not known: {', '.join(names)} are")
    facts: JsonObject = {
        "capabilities": list(info.strings("capabilities", most=MOST_CAPABILITIES)),
        **{name: info.text(name, longest=LONGEST_FACT) for name in TEXT_FACTS},
        **{name: info.integer(name, 0) for name in NUMBER_FACTS},
    }
    return {name: fact for name, fact in facts.items() if fact}


def _check_lists(fields: Fields, recipe: Recipe) -> None:
    """Refuse a recipe with more stop strings than a request may have."""
    num_values = Counter(name for name, _ in recipe.parameters)
    for name in LISTS:
        if num_values[name] > MOST_STOPS:
            raise fields.wrong(f"parameters.{name}", f"has more than {MOST_STOPS} entries")


def parse_digest(text: str) -> str | None:
    """Return a digest as the store writes it, None where the text is none."""
    found = DIGEST.fullmatch(text)
    return f"sha256:{found[1].lower()}" if found else None


def _from_text(fields: Fields, text: str) -> Recipe:
    """Read a Modelfile; ``FROM @sha256:...`` is how older clients name an uploaded blob."""
    try:
        recipe = parse_modelfile(text.encode(errors="replace"))
    except LocalrunError as error:
        raise fields.wrong("modelfile", f"is wrong: {error.message}") from error
    adapters = tuple(replace(use, path=use.path.removeprefix("@")) for use in recipe.adapters)
    sources = tuple(source.removeprefix("@") for source in recipe.sources)
    draft = recipe.draft.removeprefix("@") if recipe.draft else None
    return replace(recipe, sources=sources, adapters=adapters, draft=draft)


def _from_fields(fields: Fields, files: dict[str, str], adapters: dict[str, str]) -> Recipe:
    base = fields.text("from")
    if bool(base) == bool(files):
        raise fields.wrong("from", "or files is required, one of them")
    return Recipe(
        sources=(base,) if base else _paths(files, FILES_FOLDER),
        adapters=tuple(AdapterUse(path=path) for path in _paths(adapters, ADAPTER_FOLDER)),
        template=fields.text("template") or None,
        system=fields.text("system") or None,
        licenses=tuple(text for text in fields.strings("license", most=MOST_FILES) if text),
        messages=tuple(
            _message(fields, number, message) for number, message in enumerate(messages(fields))
        ),
        parameters=_parameters(fields),
        renderer=fields.text("renderer") or None,
        parser=fields.text("parser") or None,
        requires=fields.text("requires") or None,
    )


def _digests(fields: Fields, name: str) -> dict[str, str]:
    """Return files by their names, in the order of these: the shards of a set are in it too."""
    inner, given = fields.inner(name), fields.raw(name) or {}
    if len(given) > MOST_FILES:
        raise fields.wrong(name, f"has more than {MOST_FILES} entries")
    found: dict[str, str] = {}
    for file in sorted(given):
        digest = parse_digest(inner.required_text(file))
        if digest is None:
            raise inner.wrong(file, "must be a digest: sha256 and 64 digits")
        found[file] = digest
    return found


def _all_gguf(files: dict[str, str]) -> bool:
    """Return whether files need no names: a GGUF file says itself what it is."""
    return all(name.endswith(".gguf") for name in files)


def _paths(files: dict[str, str], folder: str) -> tuple[str, ...]:
    if not files:
        return ()
    return tuple(files.values()) if _all_gguf(files) else (folder,)


def _is_one_gguf(files: dict[str, str]) -> bool:
    """Return whether files are a single GGUF file: an instruction can name its digest."""
    return len(files) == 1 and _all_gguf(files)


def _draft_path(files: dict[str, str]) -> str:
    """Return what DRAFT names: a digest, or the folder of several files."""
    return next(iter(files.values())) if _is_one_gguf(files) else DRAFT_FOLDER


def _message(fields: Fields, number: int, message: JsonObject) -> RecipeMessage:
    role, content = message.get("role"), message.get("content")
    if role not in ROLES or not isinstance(content, str):
        raise fields.wrong(f"messages[{number}]", f"must have a role of {', '.join(ROLES)}")
    return RecipeMessage(role=cast("Role", role), content=content)


def _parameters(fields: Fields) -> tuple[tuple[str, ParameterValue], ...]:
    inner = fields.inner("parameters")
    pairs: list[tuple[str, ParameterValue]] = []
    for name in fields.raw("parameters") or {}:
        value = inner.raw(name)
        items = value if isinstance(value, list) else [value]
        if len(items) > MOST_STOPS:
            raise inner.wrong(name, f"has more than {MOST_STOPS} entries")
        pairs += [(name, _parameter(inner, name, item)) for item in items if item is not None]
    known = [pair for pair in pairs if not KNOWN[pair[0]].deprecated]
    num_values = Counter(name for name, _ in known if name not in LISTS)
    for name, count in num_values.items():
        if count > 1:
            raise inner.wrong(name, "has one value, not a list")
    return tuple(known)


def _parameter(inner: Fields, name: str, value: object) -> ParameterValue:
    if not isinstance(value, str | int | float):
        raise inner.wrong(name, "must be a text, a number or a truth value")
    try:
        text = value if isinstance(value, str) else format_parameter(value)
        return parse_parameter(name, text)
    except (ParameterError, OverflowError, ValueError) as error:
        raise inner.wrong(name, f"is wrong: {error}") from error
