"""A small autograd engine that records every gate of an LSTM: to learn from, draw and train.

`import tinygrad_lstm as tg`, then `tg.tensor`, `tg.grad`, `tg.nn.LSTM`; pictures are in `viz`.
"""

from . import comparisons as _comparisons  # noqa: F401 - attaches its operators to Tensor
from . import functions as _functions
from . import nn, optim
from .autodiff import backward, grad
from .context import detect_anomaly, no_grad, scope
from .errors import DTypeError, GraphError, NonFiniteError, ShapeError
from .functional import hessian, hvp, jacobian, jvp, vjp
from .functions import *  # noqa: F403 - its __all__ is the list of ops
from .gradcheck import GradcheckError, gradcheck
from .ops import OPS
from .random import manual_seed
from .recording import Recording
from .scan import scan
from .serialization import load, save
from .stepping import compiled_step
from .sweep import toposort
from .tensor import Node, Op, Parameter, Tensor, tensor

__version__ = "0.1.0"

__all__ = [
    "OPS",
    "DTypeError",
    "GradcheckError",
    "GraphError",
    "Node",
    "NonFiniteError",
    "Op",
    "Parameter",
    "Recording",
    "ShapeError",
    "Tensor",
    "backward",
    "compiled_step",
    "detect_anomaly",
    "grad",
    "gradcheck",
    "hessian",
    "hvp",
    "jacobian",
    "jvp",
    "load",
    "manual_seed",
    "nn",
    "no_grad",
    "optim",
    "save",
    "scan",
    "scope",
    "tensor",
    "toposort",
    "vjp",
]
__all__ += _functions.__all__
