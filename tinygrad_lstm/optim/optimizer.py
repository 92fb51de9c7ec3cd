"""Optimizer: parameter groups, the loop over parameters, and the state that can be saved.

Knows nothing of any update rule. A rule is a method on plain arrays that changes the values in
place; the loop then tells the parameter that its data changed, so that a backward pass through
the old values is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..tensor import Array, Tensor

__all__ = ["Group", "Optimizer", "State"]

Group = dict[str, Any]
"""The options of some parameters: "params" and one entry per option, such as "lr"."""

State = dict[str, Any]
"""What a rule keeps of one parameter: arrays of its shape, and a count of steps."""

_INITIAL = "initial_lr"  # where a schedule remembers the rate it started from


class Optimizer:
    """Changes parameters by their gradients, one `step()` at a time.

    params: tensors that require gradients, or groups: dicts with "params" and options of their
    own. `param_groups` may be read and changed between steps. Raises ValueError for no parameters
    or the same one twice, TypeError for anything that is not a leaf tensor.
    """

    def __init__(
        self, params: Iterable[Tensor] | Iterable[Mapping[str, Any]], defaults: Group
    ) -> None:
        self._check_options(defaults)
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[Tensor, State] = {}
        self._scratch: dict[tuple[Any, ...], tuple[Array, Array]] = {}
        if isinstance(params, Tensor | Mapping) or not isinstance(params, Iterable):
            raise TypeError(
                "params: expected several parameters or groups of them, such as "
                f"model.parameters(), got {type(params).__name__}"
            )
        given = list(params)
        if not given:
            raise ValueError("params: no parameters were given")
        if isinstance(given[0], Mapping):
            for group in given:
                self.add_param_group(group)  # type: ignore[arg-type] - it checks
        else:
            self.add_param_group({"params": given})

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """More parameters to change, with options of their own where `group` names them."""
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f"group: expected a dict with 'params', got {group!r:.80}")
        given = group["params"]
        params = [given] if isinstance(given, Tensor) else list(given)
        seen = {id(p) for old in self.param_groups for p in old["params"]}
        for k, p in enumerate(params):
            if not isinstance(p, Tensor) or p.node is not None:
                what = "a computed tensor" if isinstance(p, Tensor) else type(p).__name__
                raise TypeError(f"params[{k}]: expected a Parameter or a leaf tensor, got {what}")
            if id(p) in seen:
                raise ValueError(f"params[{k}]: {p.name or 'a parameter'} is given twice")
            seen.add(id(p))
        unknown = set(group) - set(self.defaults) - {"params", _INITIAL}
        if unknown:
            raise TypeError(f"group: {type(self).__name__} has no option {sorted(unknown)}")
        whole = {**self.defaults, **group, "params": params}
        self._check_options(whole)
        for p in params:
            if not p.data.flags.writeable:
                p.data = p.data.copy()  # values are changed in place
        self.param_groups.append(whole)

    def step(self) -> None:
        """Change every parameter that has a gradient. Raises ShapeError for one that differs."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                data, gradient = p.data, p.grad.data
                if gradient.shape != data.shape:
                    raise ShapeError(
                        f"step: {p.name or 'a parameter'} {data.shape} has a gradient of shape "
                        f"{gradient.shape}"
                    )
                state = self.state.get(p)
                if state is None:
                    state = self.state[p] = {}
                kind = (data.shape, data.dtype)
                scratch = self._scratch.get(kind)
                if scratch is None:
                    scratch = self._scratch[kind] = (np.empty(*kind), np.empty(*kind))
                self._update(data, gradient, group, state, scratch)
                p.data = data  # counts as a change, for backward passes through the old values

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                if set_to_none or p.grad is None:
                    p.grad = None
                else:
                    p.grad = Tensor(np.zeros_like(p.data))

    def _check_options(self, options: Group) -> None:
        """Raise ValueError for options this rule has no meaning for."""
        for name in ("lr", "weight_decay"):
            at_least_zero(name, options[name])

    def _update(
        self, p: Array, g: Array, group: Group, state: State, scratch: tuple[Array, Array]
    ) -> None:
        """Change `p` in place; `g` must be left as it is, `scratch` is free to use."""
        raise NotImplementedError

    # -- state ------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Copies of what the rule keeps, by the parameters' positions, and the groups' options."""
        position = {p: k for k, p in enumerate(self._params())}
        state = {position[p]: _copied(kept) for p, kept in self.state.items()}
        groups = [
            {**group, "params": [position[p] for p in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": dict(sorted(state.items())), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up where another optimizer of the same parameters left off.

        Raises ValueError where groups or shapes differ, and then changes nothing.
        """
        groups, kept = state_dict["param_groups"], state_dict["state"]
        sizes = [len(group["params"]) for group in self.param_groups]
        found = [len(group["params"]) for group in groups]
        if sizes != found:
            raise ValueError(f"state_dict: expected groups of {sizes} parameters, got {found}")
        order = [k for group in groups for k in group["params"]]
        by_key = dict(zip(order, self._params(), strict=True))
        unknown = [k for k in kept if k not in by_key]
        if unknown:
            raise ValueError(f"state_dict: state for parameters {unknown}, which no group has")
        state = {by_key[k]: _fitted(by_key[k], k, values) for k, values in kept.items()}
        options = [
            {**mine, **{k: v for k, v in theirs.items() if k in self.defaults or k == _INITIAL}}
            for mine, theirs in zip(self.param_groups, groups, strict=True)
        ]
        for group in options:
            self._check_options(group)
        self.state = state
        for group, new in zip(self.param_groups, options, strict=True):
            group.update(new)

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __repr__(self) -> str:
        rows = [
            f"  {sum(p.size for p in group['params']):,} parameters: "
            + ", ".join(f"{name}={v}" for name, v in group.items() if name != "params")
            for group in self.param_groups
        ]
        return "\n".join([type(self).__name__, *rows])


def at_least_zero(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a number and not negative."""
    if not value >= 0.0:
        raise ValueError(f"{name} must not be negative, got {value!r}")


def below_one(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is in [0, 1)."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {value!r}")


def _copied(kept: State) -> State:
    return {k: v.copy() if isinstance(v, np.ndarray) else v for k, v in kept.items()}


def _fitted(p: Tensor, position: Any, values: Mapping[str, Any]) -> State:
    """Loaded state in the parameter's dtype; counts stay numbers."""
    state: State = {}
    for name, value in values.items():
        if name == "step":
            state[name] = int(value)
            continue
        if value is None:
            continue
        array = np.array(value, p.dtype)
        if array.shape != p.shape:
            raise ValueError(
                f"state_dict: {name} of parameter {position} must have shape {p.shape}, "
                f"got {array.shape}"
            )
        state[name] = array
    return state
