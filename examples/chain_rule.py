"""The chain rule on five numbers: forward, backward, and the gradient of a gradient.

A neuron y = tanh(w x + b) is compared with a target; its squared error is differentiated by the
engine and, beside it, by hand, factor by factor.

    python examples/chain_rule.py --out out/chain-rule
"""

from __future__ import annotations

import math
from pathlib import Path

import click
import numpy as np

import tinygrad_lstm as tg
import viz


def squared_error(w: tg.Tensor, x: tg.Tensor, b: tg.Tensor, target: tg.Tensor) -> tg.Tensor:
    """(tanh(w x + b) - target)^2, every step named."""
    a = (w * x + b).named("a")
    y = tg.tanh(a).named("y")
    e = (y - target).named("e")
    return (e * e).named("L")


@click.command(help=__doc__.splitlines()[0] if __doc__ else None)
@click.option("--w", default=0.5, show_default=True, help="The weight.")
@click.option("--x", default=2.0, show_default=True, help="The input.")
@click.option("--b", default=-0.4, show_default=True, help="The bias.")
@click.option("--target", default=1.0, show_default=True, help="What y should be.")
@click.option("--seed", type=click.IntRange(0), help="Draw all four at random instead.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/chain-rule"),
    show_default=True,
    help="Folder for the pictures.",
)
def main(w: float, x: float, b: float, target: float, seed: int | None, out: Path) -> None:
    if seed is not None:
        w, x, b, target = np.random.default_rng(seed).uniform(-2, 2, 4).tolist()
    given = {"w": w, "x": x, "b": b, "target": target}
    leaves = {
        name: tg.tensor(value, dtype="float64", requires_grad=name in "wxb", name=name)
        for name, value in given.items()
    }

    print("Forward")
    loss = squared_error(**leaves)
    for node in tg.toposort([loss]):
        inputs = ", ".join(t.name or f"{t.item():.4f}" for t in node.inputs)
        print(f"  {node.name or '':>2} {node.op.name:>5}({inputs}) = {node.value.item():.4f}")

    print("\nBackward, by the engine and by hand")
    gradients = tg.grad(loss, [leaves[name] for name in "wxb"])
    y = math.tanh(w * x + b)
    up_to_a = 2 * (y - target) * (1 - y * y)  # dL/de times dy/da; de/dy is 1
    by_hand = {"w": up_to_a * x, "x": up_to_a * w, "b": up_to_a}
    print(f"  dL/da = 2e (1 - y^2) = 2 ({y - target:.4f}) (1 - {y:.4f}^2) = {up_to_a:.4f}")
    for name, found in zip("wxb", gradients, strict=True):
        inner = {"w": "x", "x": "w", "b": "1"}[name]
        print(f"  dL/d{name} = dL/da * {inner}: {found.item():.4f}, by hand {by_hand[name]:.4f}")

    print("\nThe gradient of the gradient")
    (slope,) = tg.grad(loss, [leaves["w"]], create_graph=True)
    slope.name = "dL/dw"
    curvature = tg.grad(slope, leaves["w"])
    exact = x * x * (1 - y * y) * (2 * (1 - y * y) - 4 * (y - target) * y)
    print(f"  d2L/dw2: {curvature.item():.4f}, by hand {exact:.4f}")

    print("\nAs equations")
    print(viz.equations(loss))
    print(viz.equations(slope))

    out.mkdir(parents=True, exist_ok=True)
    viz.draw(loss, values=True, grads=True).save(out / "forward.svg")
    viz.draw(loss, values=True, backward=True).save(out / "backward.svg")
    print(f"\nPictures of the forward and the backward graph are in {out}/")


if __name__ == "__main__":
    main()
