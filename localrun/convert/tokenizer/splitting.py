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
_DEEPSEEK_LETTERS = (  # as its file writes them
    "A-Za-z"
    "\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-"
    "\u02af\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c"
    "\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5"
    "\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77"
    "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57"
    "\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4"
    "\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc"
    "\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d"
    "\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b"
    "\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f"
    "\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a"
    "\uff41-\uff5a\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb"
    "\U00010c80-\U00010cb2\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-"
    "\U0001e943"
)
DEEPSEEK = (
    r"[\r\n]",
    rf"\s?[{_DEEPSEEK_LETTERS}]+",
    "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
    r"\s+$",
    "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+",
    _DIGITS,
)
SEED = (
    rf"{_CONTRACTIONS}|{_BEFORE}\p{{L}}+|\p{{N}}{{1}}| ?[^\s\p{{L}}\p{{N}}\r\n]+"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
NAMES = {
    DEEPSEEK: "deepseek-llm",
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
        text = step.inner("pattern").text("Regex", "(a fixed text)")
        return [text.replace("\r", r"\r").replace("\n", r"\n")]
    return [f"({kind})"]
