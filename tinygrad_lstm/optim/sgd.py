"""SGD and RMSprop: update rules whose step does not depend on how many there were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..tensor import Array, Tensor
from .optimizer import Group, Optimizer, State, at_least_zero

__all__ = ["SGD", "RMSprop"]


class SGD(Optimizer):
    """v = momentum v + (1 - dampening) g;  p = p - lr v.

    The first v is g itself. nesterov: g + momentum v takes the place of v. weight_decay adds
    weight_decay p to g. Raises ValueError for negative options, or Nesterov's momentum without
    momentum or with dampening. Source: Sutskever et al., ICML 2013.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    def _check_options(self, options: Group) -> None:
        super()._check_options(options)
        at_least_zero("momentum", options["momentum"])
        if options["nesterov"] and (options["momentum"] == 0 or options["dampening"] != 0):
            raise ValueError(
                "nesterov needs a momentum and no dampening, got "
                f"momentum={options['momentum']!r} and dampening={options['dampening']!r}"
            )

    def _update(
        self, p: Array, g: Array, group: Group, state: State, scratch: tuple[Array, Array]
    ) -> None:
        change, spare = scratch
        momentum = float(group["momentum"])
        g = decayed(p, g, float(group["weight_decay"]), change)
        if momentum:
            v = state.get("momentum_buffer")
            if v is None:
                v = state["momentum_buffer"] = np.array(g)
            else:
                np.multiply(v, momentum, out=v)
                v += np.multiply(g, 1.0 - float(group["dampening"]), out=spare)
            if group["nesterov"]:
                np.multiply(v, momentum, out=spare)
                g = np.add(g, spare, out=spare)
            else:
                g = v
        p -= np.multiply(g, float(group["lr"]), out=change)


class RMSprop(Optimizer):
    """s = alpha s + (1 - alpha) g^2;  p = p - lr g / (sqrt(s) + eps).

    momentum: the steps g / (sqrt(s) + eps) are summed up, b = momentum b + step. centered:
    s - m^2 takes the place of s, where m is the running mean of g. weight_decay adds
    weight_decay p to g. Raises ValueError for negative options.
    Source: Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012; the centered form,
    Graves, "Generating Sequences with Recurrent Neural Networks", 2013.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
            },
        )

    def _check_options(self, options: Group) -> None:
        super()._check_options(options)
        for name in ("alpha", "eps", "momentum"):
            at_least_zero(name, options[name])

    def _update(
        self, p: Array, g: Array, group: Group, state: State, scratch: tuple[Array, Array]
    ) -> None:
        change, root = scratch
        alpha, momentum = float(group["alpha"]), float(group["momentum"])
        g = decayed(p, g, float(group["weight_decay"]), change)
        if "square_avg" not in state:
            state["square_avg"] = np.zeros_like(p)
        state["step"] = state.get("step", 0) + 1
        square = state["square_avg"]
        np.multiply(g, g, out=root)
        root *= 1.0 - alpha
        square *= alpha
        square += root
        if group["centered"]:
            if "grad_avg" not in state:
                state["grad_avg"] = np.zeros_like(p)
            mean = state["grad_avg"]
            np.multiply(g, 1.0 - alpha, out=root)
            mean *= alpha
            mean += root
            np.multiply(mean, mean, out=root)
            np.subtract(square, root, out=root)
            np.maximum(root, 0.0, out=root)  # rounding can leave a variance just below zero
            np.sqrt(root, out=root)
        else:
            np.sqrt(square, out=root)
        root += float(group["eps"])
        np.divide(g, root, out=change)
        if momentum > 0:
            if "momentum_buffer" not in state:
                state["momentum_buffer"] = np.zeros_like(p)
            buffer = state["momentum_buffer"]
            buffer *= momentum
            buffer += change
            np.multiply(buffer, float(group["lr"]), out=change)
        else:
            change *= float(group["lr"])
        p -= change


def decayed(p: Array, g: Array, weight_decay: float, out: Array) -> Array:
    """g + weight_decay p, in `out`; g itself without decay."""
    if not weight_decay:
        return g
    np.multiply(p, weight_decay, out=out)
    return np.add(g, out, out=out)
