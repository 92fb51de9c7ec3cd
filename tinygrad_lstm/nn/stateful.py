"""Truncated backpropagation through time: long sequences in windows, the state carried on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..tensor import Tensor
from ..tree import flatten, unflatten

__all__ = ["Stateful"]


class Stateful:
    """A recurrent model that goes on, at each call, from the state the last one left.

        reader = nn.Stateful(lstm)
        for x, target in windows:  # one after the other of a long sequence
            loss = mse_loss(reader(x), target)
            loss.backward()
            ...

    model: called as `model(x, state)`, returns (output, next state); a call here returns the
    output. A state is any nest of tensors, or None, from which the model starts by itself.
    The values of the state pass from window to window and gradients do not: backward stops where a
    window begins, whatever came before is freed with its loss, and memory does not grow with the
    number of windows. Nothing is learnt that reaches back further than a window, unless the
    carried state happens to show it. `reset()` before a sequence that has nothing to do with the
    last one; `state` may also be read and set.
    Source: Williams & Peng, Neural Computation 2, 1990.
    """

    def __init__(self, model: Callable[..., tuple[Any, Any]]) -> None:
        if not callable(model):
            raise TypeError(f"model: expected a Module or a function, got {type(model).__name__}")
        self.model = model
        self._state: Any = None

    def __call__(self, x: Any, **options: Any) -> Any:
        """The model's output for the next window; options are passed on to the model."""
        output, self.state = self.model(x, self._state, **options)
        return output

    def reset(self) -> None:
        """Forget the state: the next call starts as the model does by itself."""
        self._state = None

    @property
    def state(self) -> Any:
        """What the next call starts from: tensors without history, nested as the model does."""
        return self._state

    @state.setter
    def state(self, state: Any) -> None:
        tensors, form = flatten(state, Tensor, "state")
        self._state = unflatten(form, [t.detach() for t in tensors])
