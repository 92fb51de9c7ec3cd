"""The tasks behind the examples: honest baselines, no leaks, and models that learn."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tinygrad_lstm import Tensor, grad, no_grad, tensor, toposort
from tinygrad_lstm.data import CharVocabulary, adding_problem
from tinygrad_lstm.nn.losses import mse_loss
from tinygrad_lstm.tasks import adding, cells, chars, sunspots
from tinygrad_lstm.tasks.regressor import SequenceRegressor, set_forget_bias


def test_the_last_sixty_years_are_held_out():
    data = sunspots.load_sunspots()
    years = data.years[data.test]
    assert (years[0], years[-1], len(years)) == (1949, 2008, 60)
    truth = data.values[data.test]
    np.testing.assert_allclose(data.to_numbers(data.windows.test.y), truth, atol=1e-3)


def test_a_held_out_year_is_forecast_from_the_years_before_it():
    data = sunspots.load_sunspots(window=22)
    start = data.test.start
    seen = data.to_numbers(data.windows.test.x[0])
    np.testing.assert_allclose(seen, data.values[start - 22 : start], atol=1e-3)


def test_persistence_says_last_years_number_again():
    data = sunspots.load_sunspots()
    persistence = sunspots.baselines(data)[0]
    np.testing.assert_array_equal(persistence.predicted[1:], data.values[data.test][:-1])


def test_the_linear_baseline_finds_a_linear_law():
    t = np.arange(80)
    wave = 3 + np.cos(0.7 * t) + 0.5 * np.sin(1.9 * t)  # a recurrence of order 5, exactly
    predicted = sunspots._linear(wave, 8, 60)
    np.testing.assert_allclose(predicted, wave[60:], atol=1e-9)


def test_the_linear_baseline_is_fitted_on_the_past_alone():
    series = np.random.default_rng(0).normal(size=60)
    changed = series.copy()
    changed[50:] += 100.0
    same = sunspots._linear(changed, 5, 50)[0]
    assert same == pytest.approx(sunspots._linear(series, 5, 50)[0], rel=1e-12)


def test_errors_of_a_forecast_are_in_sunspot_numbers():
    data = sunspots.load_sunspots()
    persistence = sunspots.baselines(data)[0]
    steps = np.diff(data.values.astype(float))[data.test.start - 1 :]
    assert persistence.rmse == pytest.approx(math.sqrt(np.mean(steps**2)), rel=1e-6)
    assert persistence.mae == pytest.approx(np.mean(np.abs(steps)), rel=1e-6)


def test_a_few_epochs_of_sunspots_lower_the_validation_loss():
    data = sunspots.load_sunspots(window=6)
    _, history = sunspots.train_forecaster(data, hidden_size=6, epochs=4)
    assert history.validation[-1] < 0.8 * history.validation[0]


def test_the_mean_of_models_is_forecast():
    data = sunspots.load_sunspots(window=4)
    models = [SequenceRegressor(1, 3, rng=k) for k in range(2)]
    with no_grad():
        answers = [m(data.windows.test.x).numpy() for m in models]
    mean = data.to_numbers((answers[0] + answers[1]) / 2)
    found = sunspots.forecast(data, models)
    np.testing.assert_allclose(found.predicted, mean, rtol=1e-5)
    assert found.name == "2 LSTMs, their mean"


def test_a_short_adding_problem_is_learnt():
    model, history = adding.train_adding(
        3, hidden_size=8, epochs=8, steps=20, batch_size=32, target=0.02
    )
    assert history.validation[-1] < 0.5 * adding.MEAN_ERROR
    assert adding.mean_squared_error(model, 3) < 0.5 * adding.MEAN_ERROR


def test_always_answering_one_has_the_error_of_the_mean():
    _, y = adding_problem(20_000, 30, seed=3)
    assert np.mean((y - 1) ** 2) == pytest.approx(adding.MEAN_ERROR, rel=0.02)


def test_the_forget_bias_reaches_every_layer_and_no_other_gate():
    model = SequenceRegressor(2, 3, rng=0, forget_bias=0.0)
    before = {k: v.copy() for k, v in model.lstm.state_dict().items()}
    set_forget_bias(model.lstm, 2.5)
    after = model.lstm.state_dict()
    np.testing.assert_array_equal(after["bias_ih_l0"][3:6], 2.5)
    np.testing.assert_array_equal(after["bias_hh_l0"][3:6], 0.0)
    for name in before:
        before[name][3:6] = after[name][3:6] if name.startswith("bias") else before[name][3:6]
        np.testing.assert_array_equal(after[name], before[name])


def test_memories_of_every_length_are_there_at_the_start():
    steps, hidden = 100, 500
    plain = SequenceRegressor(2, hidden, rng=0, memory=steps).lstm.state_dict()
    i, f, rest = np.split(plain["bias_ih_l0"], [hidden, 2 * hidden])
    np.testing.assert_array_equal(i, -f)
    kept = 1 / (1 + np.exp(-f.astype(np.float64)))  # what the forget gate lets through
    lasting = 1 / (1 - kept)
    assert lasting.min() > 1.99 and lasting.max() < steps + 1e-3
    assert np.mean(lasting) == pytest.approx((2 + steps) / 2, rel=0.05)  # as often long as short
    assert not plain["bias_hh_l0"][: 2 * hidden].any()
    assert len(np.unique(rest)) > hidden  # the other gates are left as they were


TEXT = "the cat sat on the mat; the rat sat on the cat. " * 60


def test_a_character_model_learns_a_text_that_repeats():
    model, history, speed = chars.train_characters(
        TEXT, hidden_size=16, epochs=3, windows=8, steps=16, batch_size=8, learning_rate=0.03
    )
    guessing = math.log(len(model.vocabulary))
    assert history.validation[-1] < 0.75 * guessing
    assert set(chars.Writer(model).write("the ", 40)) <= set(TEXT)
    assert speed > 0


def test_bits_per_character_of_equal_chances_are_the_log_of_the_characters():
    model = chars.CharModel(CharVocabulary("abcdefgh"), 4, rng=0)
    model.head.weight.data = np.zeros_like(model.head.weight.numpy())
    assert model.head.bias is not None
    model.head.bias.data = np.zeros(8, np.float32)
    codes = np.arange(50) % 8
    assert chars.bits_per_character(model, codes) == pytest.approx(3.0, rel=1e-5)


def test_a_low_temperature_writes_the_likeliest_characters():
    model = chars.CharModel(CharVocabulary(TEXT), 8, rng=0)
    likeliest = "t"
    with no_grad():
        scores, state = model(model.vocabulary.encode("t")[:, None])
        for _ in range(6):
            best = int(scores.numpy()[-1, 0].argmax())
            likeliest += model.vocabulary.characters[best]
            scores, state = model(np.array([[best]]), state)
    assert chars.Writer(model).write("t", 6, temperature=1e-6) == likeliest


@pytest.mark.parametrize(
    ("start", "temperature", "message"),
    [("", 1.0, "start must"), ("t", 0.0, "temperature must"), ("Z", 1.0, "'Z'")],
)
def test_writing_refuses_what_makes_no_sense(start: str, temperature: float, message: str):
    model = chars.CharModel(CharVocabulary(TEXT), 4, rng=0)
    with pytest.raises(ValueError, match=message):
        chars.Writer(model).write(start, 3, temperature=temperature)


def test_a_recorded_step_gets_the_gradient_of_the_whole_forecast():
    model = SequenceRegressor(2, 4, rng=1).double()
    x = np.random.default_rng(0).normal(size=(5, 2))
    y = np.array([0.3])
    step = cells.record_step(model, x, y)
    x_t = next(t for t in leaves_of(step) if t.name == "x_t")
    found = grad([step.h_t, step.c_t], x_t, [step.h_gradient, step.c_gradient])
    whole = tensor(x[np.newaxis], requires_grad=True)
    exact = grad(mse_loss(model(whole), y[np.newaxis]), whole)
    np.testing.assert_allclose(found.numpy()[0], exact.numpy()[0, 3], rtol=1e-9)


def leaves_of(step: cells.RecordedStep) -> list[Tensor]:
    return [t for node in toposort([step.h_t, step.c_t]) for t in node.inputs if t.node is None]
