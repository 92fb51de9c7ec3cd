"""Adam and AdamW: running means of the gradient and its square, corrected for their start at 0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..tensor import Array, Tensor
from .optimizer import Group, Optimizer, State, at_least_zero, below_one
from .sgd import decayed

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  after t steps
    p = p - lr m' / (sqrt(v') + eps), with m' = m / (1 - b1^t) and v' = v / (1 - b2^t).

    betas: (b1, b2). weight_decay adds weight_decay p to g. amsgrad: the largest v so far takes the
    place of v (Reddi et al., ICLR 2018). Raises ValueError for options out of range.
    Source: Kingma & Ba, "Adam", ICLR 2015.
    """

    _decoupled = False

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "betas": betas,
                "eps": eps,
                "weight_decay": weight_decay,
                "amsgrad": amsgrad,
            },
        )

    def _check_options(self, options: Group) -> None:
        super()._check_options(options)
        at_least_zero("eps", options["eps"])
        if len(options["betas"]) != 2:
            raise ValueError(f"betas must be two numbers, got {options['betas']!r}")
        for k, beta in enumerate(options["betas"]):
            below_one(f"betas[{k}]", beta)

    def _update(
        self, p: Array, g: Array, group: Group, state: State, scratch: tuple[Array, Array]
    ) -> None:
        change, root = scratch
        lr, decay = float(group["lr"]), float(group["weight_decay"])
        beta1, beta2 = (float(beta) for beta in group["betas"])
        if "step" not in state:
            state["step"] = 0
            state["exp_avg"] = np.zeros_like(p)
            state["exp_avg_sq"] = np.zeros_like(p)
        state["step"] = t = state["step"] + 1
        if not self._decoupled:
            g = decayed(p, g, decay, root)
        elif decay:
            p *= 1.0 - lr * decay
        m, v = state["exp_avg"], state["exp_avg_sq"]
        np.multiply(g, 1.0 - beta1, out=change)
        m *= beta1
        m += change
        np.multiply(g, g, out=change)
        change *= 1.0 - beta2
        v *= beta2
        v += change
        if group["amsgrad"]:
            if "max_exp_avg_sq" not in state:
                state["max_exp_avg_sq"] = np.zeros_like(p)
            v = np.maximum(state["max_exp_avg_sq"], v, out=state["max_exp_avg_sq"])
        np.sqrt(v, out=root)
        root /= math.sqrt(1.0 - beta2**t)
        root += float(group["eps"])
        np.divide(m, root, out=change)
        change *= lr / (1.0 - beta1**t)
        p -= change


class AdamW(Adam):
    """Adam with the decay taken from the parameters, p = p - lr weight_decay p, not put into g.

    Source: Loshchilov & Hutter, "Decoupled Weight Decay Regularization", ICLR 2019.
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)
