"""How many bits a weight takes in a quantization, about: sizes of one model compared by it."""

from __future__ import annotations

import re

# Of a whole file, about, as llama.cpp's quantize tool tells them; L and XL are of those
# who make them, with larger embeddings.
BITS = {
    "F64": 64.0, "F32": 32.0, "F16": 16.0, "BF16": 16.0, "Q8_0": 8.5, "Q6_K_L": 6.8,
    "Q6_K": 6.56, "Q5_1": 6.0, "Q5_K_L": 5.85, "Q5_K_M": 5.69, "Q5_K_S": 5.54, "Q5_0": 5.5,
    "Q4_K_L": 5.05, "Q4_1": 5.0, "Q4_K_XL": 4.95, "Q4_K_M": 4.85, "Q4_K": 4.85, "Q4_K_S": 4.58,
    "Q4_0": 4.55, "IQ4_NL": 4.5, "IQ4_XS": 4.25, "MXFP4": 4.25, "MXFP4_MOE": 4.25, "Q3_K_XL": 4.4,
    "Q3_K_L": 4.27, "Q3_K_M": 3.91, "Q3_K": 3.91, "IQ3_M": 3.66, "Q3_K_S": 3.5, "IQ3_S": 3.44,
    "IQ3_XS": 3.3, "IQ3_XXS": 3.06, "Q2_K_L": 3.1, "Q2_K": 2.96, "IQ2_M": 2.7, "IQ2_S": 2.5,
    "IQ2_XS": 2.31, "IQ2_XXS": 2.06, "TQ2_0": 2.06, "IQ1_M": 1.75, "TQ1_0": 1.69, "IQ1_S": 1.56,
}  # fmt: skip
REPACKED = re.compile(r"Q4_0_\d_\d")  # for one kind of processor; llama.cpp gave them up in 2024
UNKNOWN = 1000.0  # near to nothing


def bits_per_weight(quantization: str | None) -> float:
    """Return the bits per weight of a quantization in upper case, with or without UD-.

    What is not known, and what llama.cpp does not load any more, is near to nothing.
    """
    plain = (quantization or "").removeprefix("UD-")
    if plain in BITS:
        return BITS[plain]
    digit = re.search(r"[1-8]", plain)
    return UNKNOWN if digit is None or REPACKED.fullmatch(plain) else int(digit[0]) + 0.5
