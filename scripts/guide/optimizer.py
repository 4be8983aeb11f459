"""Muon for the matrices, AdamW for the rest.

Muon takes the orthogonal part of the momentum as the step of a matrix, which
needs about half the tokens of AdamW for the same loss at this size
(https://kellerjordan.github.io/posts/muon/).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
NEWTON_SCHULZ_STEPS = 5
MOMENTUM = 0.95
MATRIX_RATE = 0.02
OTHER_RATE = 0.004
WEIGHT_DECAY = 0.01


class Optimizer:
    """Step all parameters of a network at a common fraction of their peak rates."""

    def __init__(self, network: nn.Module) -> None:
        named = list(network.named_parameters())
        self._matrices = [p for name, p in named if p.ndim == 2 and "embed" not in name]
        others = [p for name, p in named if p.ndim != 2 or "embed" in name]
        self._momenta = [torch.zeros_like(p) for p in self._matrices]
        self._adam = torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0)

    def step(self, scale: float) -> None:
        """Apply the gradients at ``scale`` of the peak rates, then drop them."""
        for group in self._adam.param_groups:
            group["lr"] = OTHER_RATE * scale
        self._adam.step()
        with torch.no_grad():
            for matrix, momentum in zip(self._matrices, self._momenta, strict=True):
                self._step_matrix(matrix, momentum, MATRIX_RATE * scale)
        for matrix in self._matrices:
            matrix.grad = None
        self._adam.zero_grad(set_to_none=True)

    def _step_matrix(self, matrix: Tensor, momentum: Tensor, rate: float) -> None:
        if matrix.grad is None:
            return
        momentum.lerp_(matrix.grad, 1 - MOMENTUM)
        direction = orthogonalize(matrix.grad.lerp(momentum, MOMENTUM))
        rows, columns = matrix.shape
        matrix.mul_(1 - rate * WEIGHT_DECAY)
        matrix.add_(direction, alpha=-rate * max(1.0, rows / columns) ** 0.5)


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return about the nearest matrix with orthonormal rows or columns."""
    a, b, c = NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if matrix.shape[0] > matrix.shape[1] else x
