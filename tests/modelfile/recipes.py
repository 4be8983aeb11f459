"""Recipes of any kind, for the laws that hold for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from localrun.load_rules import CACHE_TYPES
from localrun.modelfile.known import LISTS, PARAMETERS
from localrun.modelfile.recipe import AdapterUse, Recipe, RecipeMessage

if TYPE_CHECKING:
    from localrun.modelfile.known import ParameterSpec
    from localrun.modelfile.parameters import ParameterValue

LARGEST_EXACT = 2**63 - 1
nasty = st.sampled_from(
    ['"', '""', '"""', '"""\n', '"\n', " ", "\t", "\n", "\r", "\r\n", "\\", "\\n", "#", "'",
     "<<", "<<END", "END", "\nEND\n", "END_", "${x}", "$", "\u00a0", "\u3000", "\u200d", "\ufeff",
     "\u2028", "\x85", "\x0c", "\x1b[1m", "\ufffd", "é", "字", "👨\u200d👩\u200d👧", "0.5", " 2",
     "-1e3", "FROM a\n", "a", "SYSTEM "],
)  # fmt: skip
characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
texts = st.lists(nasty | characters, max_size=12).map("".join)
names = st.sampled_from(["guide", "./a.gguf", "./my model", "~/x", "C:\\a", "llama3.2:3b"]) | texts
versions = st.from_regex(
    r"(0|[1-9]\d{0,3})(\.(0|[1-9]\d{0,3})(\.(0|[1-9]\d{0,3})(-(0|rc[0-9]|[1-9]))?(\+a[0-9])?)?)?",
    fullmatch=True,
).filter(str.isascii)
roles = st.sampled_from(["system", "user", "assistant"])
scales = st.just(1.0) | st.floats(allow_nan=False, allow_infinity=False)
durations = st.sampled_from(["5m", "1h30m", "-1", "0", "90", "1.5s", " 10m "])


def values(parameter: ParameterSpec) -> st.SearchStrategy[ParameterValue]:
    """Return what a parameter may be."""
    low, high = parameter.low, parameter.high
    kinds: dict[str, st.SearchStrategy[ParameterValue]] = {
        "int": st.integers(int(low), int(min(high, LARGEST_EXACT))),
        "float": st.floats(low, high) | st.integers(int(low), int(high)).map(float),
        "bool": st.booleans(),
        "enum": st.sampled_from(parameter.choices or CACHE_TYPES),
        "duration": durations,
    }
    return kinds.get(parameter.kind, texts)


settings = st.sampled_from(
    [each for each in PARAMETERS if not each.deprecated and not each.removed]
).flatmap(lambda each: values(each).map(lambda value: (each.name, value)))
parameters = st.lists(
    settings, max_size=8, unique_by=lambda pair: pair if pair[0] in LISTS else pair[0]
).map(tuple)
recipes = st.builds(
    Recipe,
    sources=st.lists(names, min_size=1, max_size=3).map(tuple),
    adapters=st.lists(st.builds(AdapterUse, path=names, scale=scales), max_size=3).map(tuple),
    draft=st.none() | names,
    template=st.none() | texts,
    system=st.none() | texts,
    licenses=st.lists(texts, max_size=2).map(tuple),
    messages=st.lists(st.builds(RecipeMessage, role=roles, content=texts), max_size=3).map(tuple),
    parameters=parameters,
    renderer=st.none() | names,
    parser=st.none() | names,
    requires=st.none() | versions,
)
