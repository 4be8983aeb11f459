"""Pre-tokenizers: llama.cpp's names for the patterns by which byte-level tokenizers split text.

llama.cpp has the patterns built in, under the names of the first models that used them. A pattern
is recognized by its text in ``tokenizer.json``. An unknown pattern is refused, because a model
whose input is tokenized differently from its training answers badly without any error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from localrun.errors import UsageError

if TYPE_CHECKING:
    from localrun.convert.config import Config
    from localrun.convert.tokenizer.description import Description

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_SYMBOLS_AND_SPACE = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_BEFORE = r"[^\r\n\p{L}\p{N}]?"
_SLASHED = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_OWN = "(of ByteLevel)"  # GPT-2's pattern, which ByteLevel has built in
_DIGITS = "(single digits)"

LLAMA3 = rf"{_CONTRACTIONS}|{_BEFORE}\p{{L}}+|\p{{N}}{{1,3}}|{_SYMBOLS_AND_SPACE}"
QWEN2 = rf"{_CONTRACTIONS}|{_BEFORE}\p{{L}}+|\p{{N}}|{_SYMBOLS_AND_SPACE}"
QWEN35 = (
    rf"{_CONTRACTIONS}|{_BEFORE}[\p{{L}}\p{{M}}]+|\p{{N}}"
    r"| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
TEKKEN = rf"{_BEFORE}{_UPPER}*{_LOWER}+|{_BEFORE}{_UPPER}+{_LOWER}*|\p{{N}}|{_SLASHED}"
GPT4O = (
    rf"{_BEFORE}{_UPPER}*{_LOWER}+{_CONTRACTIONS}?|{_BEFORE}{_UPPER}+{_LOWER}*{_CONTRACTIONS}?"
    rf"|\p{{N}}{{1,3}}|{_SLASHED}"
)
_PUNCTUATION = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+"
DEEPSEEK3 = (
    r"\p{N}{1,3}",
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",  # Han, Hiragana, Katakana
    (
        rf"{_PUNCTUATION}|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+| ?[\p{{P}}\p{{S}}]+[\r\n]*"
        r"|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
)
SEED = (
    rf"{_CONTRACTIONS}|{_BEFORE}\p{{L}}+|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NAMES = {
    DEEPSEEK3: "deepseek-v3",
    (SEED,): "seed-coder",
    (QWEN2,): "qwen2",
    (QWEN35,): "qwen35",
    (TEKKEN,): "tekken",
    (GPT4O,): "gpt-4o",
    (_OWN,): "gpt-2",
    (_DIGITS, _OWN): "smollm",
}
MAX_SHOWN = 1000  # characters of an unknown pattern
KEPT_AS_IS = ("NFC",)  # llama.cpp does not normalize; typed text is in NFC already


def splitting_name(description: Description) -> str:
    """Return llama.cpp's name of the pattern.

    Raises:
        UsageError: llama.cpp does not have the pattern, or a normalizer before it.
    """
    _check_normalizers(description)
    rule = tuple(text for step in description.splitters for text in _rules(step, description.where))
    if rule == (LLAMA3,):  # they differ in whether whole words precede merges
        is_whole_first = description.model.flag("ignore_merges", default=False)
        return "llama-bpe" if is_whole_first else "dbrx"
    if rule not in NAMES:
        raise UsageError(
            f"{description.where} splits text by a rule that is not known here: "
            + (" then ".join(rule)[:MAX_SHOWN] or "(none)"),
            hint="look for the same model as GGUF",
        )
    return NAMES[rule]


def _check_normalizers(description: Description) -> None:
    for step in description.normalizers:
        if step.raw("type") not in KEPT_AS_IS:
            raise UsageError(
                f"{description.where} changes text by {step.raw('type')!r}, which llama.cpp "
                "does not do for this tokenizer"
            )


def _rules(step: Config, where: str) -> list[str]:
    kind = step.raw("type")
    if kind == "ByteLevel":
        if step.flag("add_prefix_space", default=True):
            raise UsageError(f"{where} puts a space before every text, which llama.cpp does not")
        return [_OWN] if step.flag("use_regex", default=True) else []
    if kind == "Digits" and step.flag("individual_digits", default=False):
        return [_DIGITS]
    if kind == "Split" and step.raw("behavior") == "Isolated" and not step.raw("invert"):
        return [step.inner("pattern").text("Regex", "(a fixed text)")]
    return [f"({kind})"]
