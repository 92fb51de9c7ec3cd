"""Write the numbers PyTorch gives for losses, layers, optimizers and schedules.

Run it where PyTorch and safetensors are installed; the tests need only the files it leaves beside
itself. All numbers are computed in float64, from inputs that float32 holds exactly, so that one
file serves the tests of both. Usage: python tests/vectors/make_torch_losses_optim.py
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn, optim

HERE = Path(__file__).parent
CLASSES = 5


def sample(*shape: int, scale: float = 1.0) -> torch.Tensor:
    return (torch.randn(shape, dtype=torch.float32) * scale).double()


def numbers(t: torch.Tensor | None) -> Any:
    return None if t is None else t.detach().tolist()


# -- losses -----------------------------------------------------------------------------------


def loss_case(name: str, x: torch.Tensor, y: torch.Tensor, **options: Any) -> dict[str, Any]:
    """The loss, and the gradient of its cosine's sum so that no element's weight is 1."""
    x = x.clone().requires_grad_()
    value = getattr(F, name)(x, y, **options)
    torch.cos(value * 0.1).sum().backward()
    plain = {k: numbers(v) if isinstance(v, torch.Tensor) else v for k, v in options.items()}
    return {
        "loss": name,
        "input": numbers(x),
        "target": numbers(y),
        "options": plain,
        "value": numbers(value),
        "gradient": numbers(x.grad),
    }


def class_cases() -> list[dict[str, Any]]:
    cases = []
    weights = torch.tensor([0.5, 1.0, 2.0, 0.25, 1.5], dtype=torch.float64)
    grid = itertools.product(
        [(), (6,), (3, 4), (2, 3, 2)], [False, True], [False, True], ["mean", "sum", "none"]
    )
    for shape, weighted, ignoring, reduction in grid:
        full = (CLASSES,) if not shape else (shape[0], CLASSES, *shape[1:])
        y = torch.randint(0, CLASSES, shape)
        options: dict[str, Any] = {"reduction": reduction}
        if weighted:
            options["weight"] = weights
        if ignoring:
            options["ignore_index"] = 2
            if shape:
                y.view(-1)[::3] = 2
                y.view(-1)[1] = 0
            else:
                y.fill_(1)
        x = sample(*full, scale=2.0)
        for smoothing in (0.0, 0.1):
            cases.append(loss_case("cross_entropy", x, y, label_smoothing=smoothing, **options))
        log_p = F.log_softmax(x, 0 if not shape else 1)
        cases.append(loss_case("nll_loss", log_p, y, **options))
    far = torch.tensor([[1e4, -1e4, 0.0, 5.0, 1e4], [-1e4, 1e4, 1e4, 0.0, -5.0]]).double()
    for target in ([0, 1], [1, 0]):
        cases.append(loss_case("cross_entropy", far, torch.tensor(target), reduction="none"))
    cases.append(loss_case("cross_entropy", far, torch.tensor([3, 4]), label_smoothing=1.0))
    return cases


def number_cases() -> list[dict[str, Any]]:
    cases = []
    for shape, reduction in itertools.product([(), (7,), (3, 4)], ["mean", "sum", "none"]):
        x, y = sample(*shape, scale=2.0), sample(*shape)
        for name in ("mse_loss", "l1_loss", "huber_loss"):
            cases.append(loss_case(name, x, y, reduction=reduction))
        cases.append(loss_case("huber_loss", x, y, reduction=reduction, delta=0.25))
        name, labels = "binary_cross_entropy_with_logits", torch.rand(shape).double()
        cases.append(loss_case(name, x, labels, reduction=reduction))
        if shape:
            more = {"weight": sample(shape[-1]).abs(), "pos_weight": sample(shape[-1]).abs()}
            cases.append(loss_case(name, x, labels, reduction=reduction, **more))
    far = torch.tensor([1e4, -1e4, 1e4, -1e4, 20.0, -20.0, 0.0, 0.0]).double()
    labels = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.25]).double()
    cases.append(loss_case("binary_cross_entropy_with_logits", far, labels, reduction="none"))
    zeros = torch.zeros_like(far)
    cases.append(loss_case("huber_loss", far, zeros, reduction="none"))
    return cases


# -- layers -----------------------------------------------------------------------------------


def layer_case(name: str, arguments: list[Any], x: torch.Tensor, **options: Any) -> dict[str, Any]:
    layer = getattr(nn, name)(*arguments, **options).double()
    for p in layer.parameters():
        p.data = sample(*p.shape)
    floating = x.is_floating_point()
    x = x.clone().requires_grad_(floating)
    y = layer(x)
    torch.cos(y).sum().backward()
    return {
        "layer": name,
        "arguments": arguments,
        "options": options,
        "input": numbers(x),
        "state": {k: numbers(p) for k, p in layer.named_parameters()},
        "output": numbers(y),
        "input_gradient": numbers(x.grad) if floating else None,
        "gradients": {k: numbers(p.grad) for k, p in layer.named_parameters()},
    }


def layer_cases() -> list[dict[str, Any]]:
    indices = torch.tensor([[0, 3, 3], [1, 4, 0]])
    return [
        layer_case("Linear", [4, 3], sample(5, 4)),
        layer_case("Linear", [4, 3], sample(2, 5, 4), bias=False),
        layer_case("Linear", [4, 3], sample(4)),
        layer_case("LayerNorm", [6], sample(3, 6, scale=3.0)),
        layer_case("LayerNorm", [[3, 4]], sample(2, 5, 3, 4), eps=0.1),
        layer_case("LayerNorm", [4], sample(2, 3, 4), elementwise_affine=False),
        layer_case("Embedding", [5, 3], indices),
        layer_case("Embedding", [5, 3], indices, padding_idx=3),
        layer_case("Embedding", [5, 3], indices, padding_idx=-1),
    ]


# -- optimizers -------------------------------------------------------------------------------

STEPS = 7
OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.2}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.05, "momentum": 0.9, "centered": True}),
    ("RMSprop", {"lr": 0.05, "alpha": 0.5, "centered": True, "weight_decay": 0.1}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": [0.5, 0.9], "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True}),
    ("Adam", {"lr": 0.05, "betas": [0.0, 0.0]}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.0}),
]


def optimizer_cases() -> dict[str, Any]:
    """One start and one row of gradients for all; a gradient may be zero, large or missing."""
    start = [sample(3, 2), sample(4), sample()]
    gradients: list[list[torch.Tensor | None]] = []
    for _ in range(STEPS):
        gradients.append([sample(*p.shape) for p in start])
    gradients[2][1] = None
    gradients[3][0] = torch.zeros(3, 2).double()
    gradients[4][2] = torch.tensor(1e4).double()
    cases = []
    for name, options in OPTIMIZERS:
        given = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        params = [nn.Parameter(p.clone()) for p in start]
        groups: list[dict[str, Any]] = [
            {"params": params[:2]},
            {"params": params[2:], "lr": 0.5 * options.get("lr", 0.01)},
        ]
        optimizer = getattr(optim, name)(groups, **given)
        rows, halfway = [], None
        for k, row in enumerate(gradients):
            for p, g in zip(params, row, strict=True):
                p.grad = None if g is None else g.clone()
            optimizer.step()
            rows.append([numbers(p) for p in params])
            if k == STEPS // 2:
                halfway = {
                    str(position): {n: numbers(v) for n, v in kept.items() if v is not None}
                    for position, kept in optimizer.state_dict()["state"].items()
                }
        cases.append({"optimizer": name, "options": options, "rows": rows, "halfway": halfway})
    return {
        "start": [numbers(p) for p in start],
        "gradients": [[numbers(g) for g in row] for row in gradients],
        "cases": cases,
    }


def clipping_cases() -> list[dict[str, Any]]:
    cases = []
    gradients = [sample(3, 2), sample(4), sample()]
    for limit, order in itertools.product([0.5, 100.0, 0.0], [1.0, 2.0, 3.0, float("inf")]):
        params = [nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for p, g in zip(params, gradients, strict=True):
            p.grad = g.clone()
        total = nn.utils.clip_grad_norm_(params, limit, order)
        cases.append(
            {
                "max_norm": limit,
                "norm_type": "inf" if order == float("inf") else order,
                "norm": float(total),
                "before": [numbers(g) for g in gradients],
                "after": [numbers(p.grad) for p in params],
            }
        )
    return cases


# -- schedules --------------------------------------------------------------------------------


def schedule_case(schedules: list[tuple[str, dict[str, Any]]], epochs: int) -> dict[str, Any]:
    """Several schedules act on one optimizer, one after another."""
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    made = [getattr(optim.lr_scheduler, name)(optimizer, **given) for name, given in schedules]
    rates = []
    for _ in range(epochs):
        optimizer.step()
        for schedule in made:
            schedule.step()
        rates.append(optimizer.param_groups[0]["lr"])
    return {"schedules": schedules, "rates": rates}


def plateau_case(metrics: list[float], **options: Any) -> dict[str, Any]:
    optimizer = optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule = optim.lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    rates = []
    for metric in metrics:
        schedule.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    return {"options": options, "metrics": metrics, "rates": rates}


def schedule_cases() -> dict[str, Any]:
    step = ("StepLR", {"step_size": 3, "gamma": 0.5})
    cosine = ("CosineAnnealingLR", {"T_max": 5, "eta_min": 0.01})
    bumpy = [3.0, 2.0, 2.0, 1.9999, 2.5, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 0.999, 1.0, 1.0, 1.0, 1.0]
    return {
        "rates": [
            schedule_case([step], 10),
            schedule_case([cosine], 23),
            schedule_case([("CosineAnnealingLR", {"T_max": 1})], 5),
            schedule_case([step, cosine], 9),
        ],
        "plateau": [
            plateau_case(bumpy, patience=0),
            plateau_case(bumpy, patience=2, factor=0.5, cooldown=2),
            plateau_case(bumpy, patience=1, min_lr=0.02, eps=0.01),
            plateau_case(bumpy, patience=1, threshold=0.5, threshold_mode="abs"),
            plateau_case([-m for m in bumpy], mode="max", patience=1),
            plateau_case(bumpy[::-1], mode="max", patience=1, threshold=0.2),
            plateau_case(
                [-m for m in bumpy], mode="max", patience=1, threshold_mode="abs", threshold=0.3
            ),
        ],
    }


def main() -> None:
    torch.manual_seed(20240607)
    tables = {
        "torch_losses.json": class_cases() + number_cases(),
        "torch_layers.json": layer_cases(),
        "torch_optim.json": optimizer_cases()
        | {"clipping": clipping_cases(), "schedules": schedule_cases()},
    }
    for name, table in tables.items():
        (HERE / name).write_text(json.dumps(table, separators=(",", ":")) + "\n")
    save_file(
        {
            "lstm.weight_ih_l0": torch.arange(24, dtype=torch.float32).reshape(8, 3) / 7,
            "double": torch.tensor([[0.1, -1e300]], dtype=torch.float64),
            "half": torch.tensor([0.5, -2.0], dtype=torch.float16),
            "count": torch.tensor(2**40),
            "flags": torch.tensor([True, False, True]),
            "bytes": torch.tensor([0, 255], dtype=torch.uint8),
            "nothing": torch.zeros(0, 4),
        },
        HERE / "torch_state.safetensors",
        {"format": "pt"},
    )
    brain = torch.tensor([[1.0, -3.140625], [1e30, 0.0]], dtype=torch.bfloat16)
    save_file({"brain": brain}, HERE / "torch_bfloat16.safetensors")


if __name__ == "__main__":
    main()
