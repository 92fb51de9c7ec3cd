"""Sequence tasks, a real series and real text: seeded NumPy arrays, ready to train on.

Arrays in, arrays out: this package knows nothing of the engine. Samples stand along the first
axis (N, T, ...) unless a function says otherwise.
"""

from .batching import batches
from .characters import CharVocabulary, char_batches, text
from .encoding import one_hot, pad_sequences
from .reber import (
    REBER_SYMBOLS,
    ReberData,
    embedded_reber,
    encode_reber,
    is_reber,
    legal_next,
    reber_correct,
    reber_strings,
)
from .series import ForecastData, Standardizer, Windows, forecast_data, sunspots, windows
from .splitting import TimeSplit, time_split
from .tasks import (
    TEMPORAL_ORDER_CLASSES,
    TEMPORAL_ORDER_SYMBOLS,
    adding_problem,
    copy_memory,
    temporal_order,
)

__all__ = [
    "REBER_SYMBOLS",
    "TEMPORAL_ORDER_CLASSES",
    "TEMPORAL_ORDER_SYMBOLS",
    "CharVocabulary",
    "ForecastData",
    "ReberData",
    "Standardizer",
    "TimeSplit",
    "Windows",
    "adding_problem",
    "batches",
    "char_batches",
    "copy_memory",
    "embedded_reber",
    "encode_reber",
    "forecast_data",
    "is_reber",
    "legal_next",
    "one_hot",
    "pad_sequences",
    "reber_correct",
    "reber_strings",
    "sunspots",
    "temporal_order",
    "text",
    "time_split",
    "windows",
]
