"""Modules, cells, layers and losses."""

from . import init
from .cells import GRUCell, LSTMCell, RNNCell
from .containers import ModuleList, Sequential
from .criteria import (
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    NLLLoss,
)
from .linear import Dropout, Embedding, LayerNorm, Linear, ReLU, Sigmoid, Tanh
from .losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
)
from .module import LoadReport, Module
from .recurrent import GRU, LSTM, RNN
from .stateful import Stateful

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "Dropout",
    "Embedding",
    "GRUCell",
    "HuberLoss",
    "L1Loss",
    "LSTMCell",
    "LayerNorm",
    "Linear",
    "LoadReport",
    "MSELoss",
    "Module",
    "ModuleList",
    "NLLLoss",
    "RNNCell",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Stateful",
    "Tanh",
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "huber_loss",
    "init",
    "l1_loss",
    "mse_loss",
    "nll_loss",
]
