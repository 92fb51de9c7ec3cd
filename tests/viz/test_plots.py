"""Plots: what they show, that files are the same every time, and gates read out of a graph."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_lstm as tg
from tinygrad_lstm import GraphError, ShapeError, nn
from viz import plots

RNG = np.random.default_rng(5)
STEPS, BATCH, UNITS = 6, 3, 4
SVG = "{http://www.w3.org/2000/svg}"


def lstm_over_time(**options: Any) -> tuple[Any, nn.LSTM]:
    lstm = nn.LSTM(2, UNITS, dtype=np.float64, rng=0, **options)
    y, _ = lstm(tg.tensor(RNG.normal(size=(STEPS, BATCH, 2)), dtype=np.float64), unroll=True)
    return y, lstm


def texts(path: Path) -> str:
    return " ".join("".join(e.itertext()) for e in ElementTree.parse(path).iter(f"{SVG}text"))


def gates() -> dict[str, Any]:
    return {"f_t": RNG.random((9, 4)), "g_t": RNG.uniform(-1, 1, (9, 4)), "c_t": RNG.random((9, 4))}


FORECAST: dict[str, Any] = {
    "years": np.arange(1900, 1940),
    "truth": RNG.random(40),
    "predictions": {"model": RNG.random(40), "persistence": RNG.random(40)},
}
ALL = {
    "loss": lambda **o: plots.loss_curves({"train": [3.0, 2.0], "validation": [3, 2.5]}, **o),
    "gates": lambda **o: plots.gate_heatmaps({"long-term memory": RNG.random((9, 4))}, **o),
    "gradient": lambda **o: plots.gradient_through_time(
        {"LSTM": [0.5, 0.8, 1.0], "RNN": [0.0, 1e-9, 1.0]}, **o
    ),
    "forecast": lambda **o: plots.forecast(**FORECAST, split=1930, **o),
}


# -- what they show -------------------------------------------------------------------------------


def test_loss_curves_start_at_epoch_one_and_mark_the_lowest_validation() -> None:
    figure = plots.loss_curves({"train": [4.0, 2.0, 1.0], "validation": [4.0, np.nan, 3.0, 3.5]})
    axes: Any = figure.axes[0]
    train, validation, lowest = axes.get_lines()
    assert list(train.get_xdata()) == [1, 2, 3]
    assert list(validation.get_xdata()) == [1, 3, 4]  # no value, no point
    assert (lowest.get_xdata(), lowest.get_ydata()) == ([3], [3.0])
    assert "lowest validation: 3 at 3" in [t.get_text() for t in axes.get_legend().get_texts()]
    assert axes.get_yscale() == "linear"


def test_losses_over_many_powers_of_ten_are_logarithmic() -> None:
    assert plots.loss_curves({"train": [1.0, 0.001]}).axes[0].get_yscale() == "log"
    assert plots.loss_curves({"train": [1.0, 0.001]}, log=False).axes[0].get_yscale() == "linear"
    assert plots.loss_curves({"train": [1.0, 0.5]}, log=True).axes[0].get_yscale() == "log"


def test_each_gate_has_a_panel_with_time_across_and_units_down() -> None:
    drawn = gates()
    figure = plots.gate_heatmaps(drawn)
    panels = [axes for axes in figure.axes if axes.get_images()]
    assert len(panels) == 3
    for axes, (name, values) in zip(panels, drawn.items(), strict=True):
        (image,) = axes.get_images()
        np.testing.assert_array_equal(image.get_array(), values.T)
        assert f"${name}$" in axes.get_title(loc="left")
    assert "forget gate" in panels[0].get_title(loc="left")
    assert panels[0].get_xlim() == panels[2].get_xlim()


def test_gates_are_coloured_from_0_to_1_and_states_around_0() -> None:
    figure = plots.gate_heatmaps({"f_t": np.full((3, 2), 0.4), "c_t": np.full((3, 2), 2.5),
                                  "h_t": np.full((3, 2), 0.1), "mine": np.full((3, 2), -0.1),
                                  "share": np.full((3, 2), 0.3)})  # fmt: skip
    limits = [axes.get_images()[0].get_clim() for axes in figure.axes if axes.get_images()]
    assert limits == [(0, 1), (-2.5, 2.5), (-1, 1), (-1, 1), (0, 1)]


def test_heat_maps_are_labelled_with_the_characters_of_a_text() -> None:
    figure = plots.gate_heatmaps(
        {"f_t": np.ones((3, 2))}, steps=["a", "$", "\\"], x_label="character"
    )
    axes = next(axes for axes in figure.axes if axes.get_images())
    assert axes.get_xlabel() == "character"
    figure.canvas.draw()
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", r"\$", "\\"]


def test_gradients_are_logarithmic_and_zeros_stand_at_the_edge() -> None:
    figure = plots.gradient_through_time({"LSTM": [0.5, 1.0], "RNN": [0.0, 1.0]})
    axes: Any = figure.axes[0]
    assert axes.get_yscale() == "log"
    labels = [t.get_text() for t in axes.get_legend().get_texts()]
    assert labels == ["LSTM", "RNN", "RNN: zero"]
    rnn, zeros = axes.get_lines()[1:]
    assert np.isnan(rnn.get_ydata()[0])
    assert list(zeros.get_xdata()) == [0]
    low, high = axes.get_ylim()
    assert low < zeros.get_ydata()[0] < 0.5 < high


def test_the_legend_leaves_zeros_uncovered() -> None:
    norms = {"LSTM": [0.5, 0.8, 1.0], "RNN": [0.0, 1e-9, 1.0]}
    axes: Any = plots.gradient_through_time(norms).axes[0]
    axes.figure.canvas.draw()
    x, y = axes.transData.transform(axes.get_lines()[2].get_xydata())[0]
    assert not axes.get_legend().get_window_extent().padded(5).contains(x, y)


def test_a_forecast_tells_the_error_on_the_years_held_out() -> None:
    years, truth = np.arange(2000, 2010), np.zeros(10)
    model = np.where(years < 2006, 100.0, 2.0)
    late = np.where(years < 2008, np.nan, 3.0)
    figure = plots.forecast(years, truth, {"model": model, "late": late}, split=2006)
    overview: Any
    detail: Any
    overview, detail = figure.axes
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [
        "measured", "model (error 2)", "late (error 3)",
    ]  # fmt: skip
    assert detail.get_lines()[0].get_xdata()[0] == 2006
    assert overview.get_lines()[0].get_xdata()[0] == 2000
    assert len(plots.forecast(years, truth, {}).axes) == 1


def test_dark_figures_are_dark() -> None:
    for draw in ALL.values():
        face: Any = draw(theme="dark").get_facecolor()
        assert face[:3] < (0.2, 0.2, 0.2)


# -- files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_saved_figures_are_the_same_bytes_and_text_stays_text(name: str, tmp_path: Path) -> None:
    state = RNG.bit_generator.state
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        RNG.bit_generator.state = state
        ALL[name](path=tmp_path / folder / "a.svg")
    first = (tmp_path / "one" / "a.svg").read_bytes()
    assert first == (tmp_path / "two" / "a.svg").read_bytes()
    root = ElementTree.fromstring(first)
    assert root.find(f"{SVG}title") is not None
    assert len(texts(tmp_path / "one" / "a.svg")) > 40
    assert b"DejaVu Sans" in first and b"dc:date" not in first


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_figures_are_saved_by_suffix(suffix: str, start: bytes, tmp_path: Path) -> None:
    target = tmp_path / f"a.{suffix}"
    plots.loss_curves({"train": [2.0, 1.0]}, path=target)
    first = target.read_bytes()
    plots.loss_curves({"train": [2.0, 1.0]}, path=target)
    assert first.startswith(start) and target.read_bytes() == first


def test_hostile_names_are_drawn_as_text(tmp_path: Path) -> None:
    name = r"<script>$x_{$ & $\frac"
    plots.loss_curves({name: [2.0, 1.0]}, title=name, x_label=name, path=tmp_path / "a.svg")
    plots.gate_heatmaps({name: np.ones((2, 2))}, path=tmp_path / "b.svg")
    assert texts(tmp_path / "a.svg").count(name) >= 3
    assert name in texts(tmp_path / "b.svg")


def test_no_plot_needs_pyplot_or_a_display() -> None:
    code = (
        "import sys; import viz.plots; assert 'matplotlib' not in sys.modules\n"
        "viz.plots.loss_curves({'train': [2.0, 1.0]})\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


# -- gates out of a graph -------------------------------------------------------------------------


def test_gate_traces_hold_what_the_gates_did_at_every_step() -> None:
    y, _ = lstm_over_time()
    for batch in (0, 2, -1):
        traces = plots.gate_traces(y, batch=batch)
        assert list(traces) == ["f_t", "i_t", "g_t", "o_t", "c_t", "h_t"]
        np.testing.assert_array_equal(traces["h_t"], y.data[:, batch])
        f, i, g, o, c, h = traces.values()
        np.testing.assert_allclose(c[1:], f[1:] * c[:-1] + i[1:] * g[1:], atol=1e-14)
        np.testing.assert_allclose(h, o * np.tanh(c), atol=1e-14)


def test_gate_traces_of_a_reversed_direction_are_in_time_order() -> None:
    y, _ = lstm_over_time(bidirectional=True)
    traces = plots.gate_traces(y, scope="reverse")
    np.testing.assert_array_equal(traces["h_t"], y.data[:, 0, UNITS:])
    with pytest.raises(GraphError, match=r"LSTM/layer 0, LSTM/layer 0 reverse; choose one with"):
        plots.gate_traces(y)


def test_gate_traces_of_padded_batches_hold_the_state_that_was_kept() -> None:
    lstm = nn.LSTM(2, UNITS, dtype=np.float64, rng=0)
    x = tg.tensor(RNG.normal(size=(STEPS, BATCH, 2)), dtype=np.float64)
    y, (h_n, _) = lstm(x, lengths=[6, 2, 4], unroll=True)
    kept = plots.gate_traces([h_n], batch=1)["h_t"]
    np.testing.assert_array_equal(kept[2:], np.repeat(h_n.data[0, 1][None], 4, 0))
    np.testing.assert_array_equal(kept[:2], y.data[:2, 1])


def test_gate_traces_of_cells_called_in_a_loop_are_in_the_order_of_the_calls() -> None:
    cell = nn.GRUCell(2, UNITS, dtype=np.float64, rng=0)
    states = [cell(tg.tensor(RNG.normal(size=(1, 2)), dtype=np.float64))]
    for _ in range(3):
        states.append(cell(tg.tensor(RNG.normal(size=(1, 2)), dtype=np.float64), states[-1]))
    traces = plots.gate_traces(states[-1])
    assert list(traces) == ["r_t", "z_t", "n_t", "h_t"]
    np.testing.assert_array_equal(traces["h_t"], np.concatenate([s.data for s in states]))


def test_a_single_sequence_and_a_name_of_ones_own_can_be_traced() -> None:
    lstm = nn.LSTM(2, UNITS, dtype=np.float64, rng=0)
    y, _ = lstm(tg.tensor(RNG.normal(size=(STEPS, 2)), dtype=np.float64), unroll=True)
    assert plots.gate_traces(y)["c_t"].shape == (STEPS, UNITS)
    assert plots.gate_traces(y, ["x_t"])["x_t"].shape == (STEPS, 2)


def test_the_traces_are_copies() -> None:
    y, _ = lstm_over_time()
    plots.gate_traces(y)["h_t"][:] = 7.0
    assert not (y.data == 7.0).any()


def test_what_cannot_be_traced_is_refused_by_name() -> None:
    y, lstm = lstm_over_time()
    with pytest.raises(GraphError, match=r"u_t was not recorded; named tensors there: .*c_t.*f_t"):
        plots.gate_traces(y, ["u_t"])
    with pytest.raises(GraphError, match="no gate was recorded in a scope like 'layer 7'"):
        plots.gate_traces(y, scope="layer 7")
    with pytest.raises(ShapeError, match="batch: 3 is out of range, f_t has 3 sequences"):
        plots.gate_traces(y, batch=3)
    with pytest.raises(ShapeError, match=r"y has shape \(6, 3, 4\); expected \(B, H\)"):
        plots.gate_traces(y, ["y"])
    with pytest.raises(TypeError, match="tensor: expected a Tensor"):
        plots.gate_traces("y")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="names: expected a sequence of strings, got 'f_t'"):
        plots.gate_traces(y, "f_t")
    with pytest.raises(TypeError, match="batch: expected an integer"):
        plots.gate_traces(y, batch=0.0)  # type: ignore[arg-type]
    again, _ = lstm(tg.tensor(np.ones((2, 1, 2)), dtype=np.float64), unroll=True)
    with pytest.raises(GraphError, match="LSTM ran 2 times in this graph"):
        plots.gate_traces([y, again])


# -- errors of the plots --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: plots.loss_curves({}), TypeError, "curves: expected a mapping"),
        (lambda: plots.loss_curves([1.0]), TypeError, "curves: expected a mapping"),  # type: ignore[arg-type]
        (lambda: plots.loss_curves({"a": []}), ValueError, "a: expected a sequence of numbers"),
        (lambda: plots.loss_curves({"a": [[1.0]]}), ValueError, r"a: .*got shape \(1, 1\)"),  # type: ignore[list-item]
        (lambda: plots.loss_curves({"a": ["x"]}), TypeError, "a: expected numbers, got"),  # type: ignore[list-item]
        (lambda: plots.loss_curves({"a": [np.nan]}), ValueError, "no finite value"),
        (lambda: plots.loss_curves({"a": [0.0]}, log=True), ValueError, "log: a loss of 0"),
        (lambda: plots.loss_curves({"a": [1.0]}, theme="pink"), ValueError, "theme: .*'pink'"),
        (lambda: plots.loss_curves({"a": [1.0]}, path="a.bmp"), ValueError, "path: .*a.bmp"),
        (lambda: plots.loss_curves({"a": [1.0]}, path=3), TypeError, "path: expected a file name"),  # type: ignore[arg-type]
        (lambda: plots.gate_heatmaps({}), TypeError, "gates: expected a mapping"),
        (lambda: plots.gate_heatmaps({"f_t": np.ones(3)}), ValueError, r"f_t: .*shape \(3,\)"),
        (
            lambda: plots.gate_heatmaps({"f_t": np.ones((3, 2)), "c_t": np.ones((4, 2))}),
            ValueError,
            "c_t: 4 time steps where the first has 3",
        ),
        (lambda: plots.gate_heatmaps({"f": [[np.inf]]}), ValueError, "f: .*not finite"),  # type: ignore[dict-item]
        (
            lambda: plots.gate_heatmaps({"f": np.ones((3, 2))}, steps="ab"),
            ValueError,
            "steps: 2 labels for 3",
        ),
        (
            lambda: plots.gradient_through_time({"a": [1.0, -1.0]}),
            ValueError,
            "norms: 'a' has a negative norm, -1",
        ),
        (lambda: plots.gradient_through_time({"a": [0.0]}), ValueError, "no positive value"),
        (lambda: plots.forecast([1, 2], [1, 2], {"m": [1]}), ValueError, "m: 1 values for 2 years"),
        (lambda: plots.forecast([2, 1], [1, 2], {}), ValueError, "years: must be finite and grow"),
        (lambda: plots.forecast([1, 2], [1, 2], {}, split=9), ValueError, "split: 9 does not"),
        (lambda: plots.forecast([1], [1], {"truth": [1]}), ValueError, "are taken"),
        (lambda: plots.forecast([1], [1], [2]), TypeError, "predictions: expected a mapping"),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(call: Any, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
