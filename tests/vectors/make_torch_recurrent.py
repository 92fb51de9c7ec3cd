"""Write the numbers PyTorch gives for LSTM, GRU and RNN over a grid of their options.

Run it where PyTorch and safetensors are installed; the tests need only the files it leaves beside
itself. All numbers are computed in float64, from values that float32 holds exactly, so that one
file serves the tests of both. Usage: python tests/vectors/make_torch_recurrent.py

torch_recurrent.safetensors: `grid` in the metadata lists the models, each with its options, the
names and shapes of its parameters, and its cases. A model's parameters stand in one flat tensor;
a case's inputs and outputs in another, in the order of its `shapes`, and after them the gradients
of its inputs and of the parameters. The loss is the sum of the cosines of y, 2 h_n and 3 c_n.
torch_lstm.safetensors: a float32 state_dict saved as PyTorch's users save theirs.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

HERE = Path(__file__).parent
T, B, I, H = 3, 3, 2, 3  # noqa: E741 - PyTorch's letters
LENGTHS = [2, 3, 1]
KINDS = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
Numbers = dict[str, torch.Tensor]


def sample(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float32).double()


def models() -> list[tuple[str, dict[str, Any]]]:
    """Every kind with every combination of the options that change its parameters."""
    found: list[tuple[str, dict[str, Any]]] = []
    for kind, layers, both, bias in itertools.product(KINDS, [1, 2], [False, True], [True, False]):
        options = {"num_layers": layers, "bidirectional": both, "bias": bias}
        found.append((kind, options))
        if kind == "LSTM":
            found.append((kind, {**options, "proj_size": 2}))
    found.append(("RNN", {"num_layers": 2, "bidirectional": True, "nonlinearity": "relu"}))
    return found


def case(model: nn.RNNBase, batch_first: bool, lengths: list[int] | None) -> Numbers:
    """Inputs, outputs and all gradients of one call."""
    model.batch_first = batch_first
    rows = model.num_layers * (2 if model.bidirectional else 1)
    inputs = {"x": sample(T, B, I), "h_0": sample(rows, B, model.proj_size or H)}
    if isinstance(model, nn.LSTM):
        inputs["c_0"] = sample(rows, B, H)
    if batch_first:
        inputs["x"] = inputs["x"].transpose(0, 1).contiguous()
    for t in inputs.values():
        t.requires_grad_()
    state = (inputs["h_0"], inputs["c_0"]) if "c_0" in inputs else inputs["h_0"]
    if lengths is None:
        y, final = model(inputs["x"], state)
    else:
        ends = torch.tensor(lengths)
        packed = pack_padded_sequence(inputs["x"], ends, batch_first, enforce_sorted=False)
        packed, final = model(packed, state)
        y, _ = pad_packed_sequence(packed, batch_first, total_length=T)
    final = final if isinstance(final, tuple) else (final,)
    outputs = {"y": y, **dict(zip(("h_n", "c_n"), final, strict=False))}
    loss = sum(torch.cos(k * t).sum() for k, t in enumerate(outputs.values(), 1))
    leaves = {**inputs, **dict(model.named_parameters())}
    gradients = torch.autograd.grad(loss, list(leaves.values()))
    slopes = {f"d {name}": g for name, g in zip(leaves, gradients, strict=True)}
    return {**inputs, **outputs, **slopes}


def flat(numbers: Numbers) -> torch.Tensor:
    return torch.cat([t.detach().reshape(-1) for t in numbers.values()])


def shapes(numbers: Numbers) -> dict[str, list[int]]:
    return {name: list(t.shape) for name, t in numbers.items()}


def main() -> None:
    torch.manual_seed(0)
    tensors: Numbers = {}
    grid: list[dict[str, Any]] = []
    for number, (kind, options) in enumerate(models()):
        model = KINDS[kind](I, H, **options).double()
        for p in model.parameters():
            p.data = sample(*p.shape) / 2
        state = model.state_dict()
        tensors[f"{number}"] = flat(state)
        cases = []
        for batch_first, lengths in itertools.product([False, True], [None, LENGTHS]):
            numbers = case(model, batch_first, lengths)
            tensors[f"{number}.{len(cases)}"] = flat(numbers)
            given = {k: s for k, s in shapes(numbers).items() if not k.startswith("d ")}
            cases.append({"batch_first": batch_first, "lengths": lengths, "shapes": given})
        row = {"kind": kind, "options": options, "shapes": shapes(state), "cases": cases}
        grid.append(row)
    sizes = {"input_size": I, "hidden_size": H}
    metadata = {"grid": json.dumps(grid), "sizes": json.dumps(sizes), "torch": torch.__version__}
    save_file(tensors, HERE / "torch_recurrent.safetensors", metadata)

    saved = nn.LSTM(I, H, num_layers=2, bidirectional=True, proj_size=2)
    save_file(saved.state_dict(), HERE / "torch_lstm.safetensors")


if __name__ == "__main__":
    main()
