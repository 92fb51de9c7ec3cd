"""Compare a loaded state with the parameters it is for, before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ..tensor import Array, Parameter, Tensor

__all__ = ["LoadReport", "matched"]


class LoadReport(NamedTuple):
    """What `load_state_dict(strict=False)` passed over."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


def matched(
    places: Mapping[str, Parameter], state: Mapping[str, Any], strict: bool, owner: str
) -> tuple[list[tuple[Parameter, Array]], LoadReport]:
    """The parameters with their new values, in their dtypes, and the names passed over.

    Raises ValueError listing every entry that does not fit; `strict` counts missing and unexpected
    names too. A shared parameter is there under any of its names.
    """
    given = {id(parameter) for name, parameter in places.items() if name in state}
    missing = tuple(name for name, parameter in places.items() if id(parameter) not in given)
    unexpected = tuple(str(name) for name in state if name not in places)
    misshapen: list[str] = []
    values: list[tuple[Parameter, Array]] = []
    for name, parameter in places.items():
        if name in state:
            value = _as_values(state[name])
            if value.dtype.kind not in "fiub" or value.shape != parameter.shape:
                misshapen.append(
                    f"{name}: expected {parameter.shape} {parameter.dtype}, "
                    f"got {value.shape} {value.dtype}"
                )
            else:
                values.append((parameter, np.array(value, parameter.dtype)))
    problems = {"misshapen": misshapen}
    if strict:
        problems = {"missing": missing, "unexpected": unexpected, **problems}
    listed = [f"\n  {kind}:\n    " + "\n    ".join(n) for kind, n in problems.items() if n]
    if listed:
        raise ValueError(f"load_state_dict: the state does not fit {owner}" + "".join(listed))
    return values, LoadReport(missing, unexpected)


def _as_values(value: Any) -> Array:
    return value.data if isinstance(value, Tensor) else np.asarray(value)
