"""The functions people call: `tinygrad_lstm.sigmoid(x)`, `x.sigmoid()`, `x + y`.

Each checks what it was given, brings dtypes together, and records one op of the table. Names and
argument order are NumPy's. Most are methods of Tensor too: the same function, attached below.
"""

from ..tensor import Tensor
from . import elementwise, indexing, operators, products, reductions, shapes
from .elementwise import *  # noqa: F403 - the list of each module is a part of ours
from .indexing import *  # noqa: F403
from .products import *  # noqa: F403
from .reductions import *  # noqa: F403
from .shapes import *  # noqa: F403

__all__: list[str] = []
__all__ += elementwise.__all__
__all__ += indexing.__all__
__all__ += products.__all__
__all__ += reductions.__all__
__all__ += shapes.__all__

_METHODS = (
    "abs astype broadcast_to clip cos cumsum dropout exp log log_softmax logsumexp max mean min "
    "permute relu reshape sigmoid sin softmax softplus split sqrt squeeze sum swapaxes take tanh "
    "transpose unsqueeze unstack var"
)
for _name in _METHODS.split():
    setattr(Tensor, _name, globals()[_name])
for _name in operators.__all__:
    setattr(Tensor, _name, getattr(operators, _name))
Tensor.__getitem__ = indexing.__getitem__
