"""Plots of training and of what an LSTM did: curves, heat maps, gradients over time, forecasts.

They know arrays and names, no model. Figures are made without pyplot, so nothing needs a display
and nothing is kept open; each function returns the figure, and saves it where a path is given.
"""

from ..recorded import gate_traces
from .forecasts import forecast
from .gates import gate_heatmaps
from .training import gradient_through_time, loss_curves

__all__ = ["forecast", "gate_heatmaps", "gate_traces", "gradient_through_time", "loss_curves"]
