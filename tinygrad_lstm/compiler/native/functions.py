"""exp, tanh, sigmoid and the like on vectors, as LLVM text.

exp(x) = 2^n e^r with x = n log 2 + r and |r| <= log(2) / 2, and e^r - 1 - r = r^2 q(r), where q is
a polynomial that interpolates at Chebyshev's points: relative errors below 1e-9 (degree 5, float32)
and 1e-20 (degree 11, float64). n is found by adding a number so large that rounding leaves the
integer in the last bits, where a shift makes it an exponent; a NaN goes through unharmed.
"""

from __future__ import annotations

import math
import struct

from .text import Function, Scalar

__all__ = ["Vectors", "number"]

_Q = {
    32: (
        0.500000001346581,
        0.16666666681623232,
        0.041666464925285904,
        0.0083333109254809,
        0.0013933649996309251,
        0.00019890990824673654,
    ),
    64: (
        0.5,
        0.16666666666666666,
        0.04166666666666668,
        0.008333333333333333,
        0.0013888888888879073,
        0.00019841269841263298,
        2.4801587336442236e-05,
        2.755731924721873e-06,
        2.75572632790885e-07,
        2.505207109429355e-08,
        2.0918137737642736e-09,
        1.608662795678037e-10,
    ),
}
_LOG2_HIGH = {32: 0.693359375, 64: float.fromhex("0x1.62e42feep-1")}  # few bits: n * it is exact
_LOG2_REST = {32: math.log(2) - 0.693359375, 64: 1.90821492927058770002e-10}
_ROUND = {32: 1.5 * 2.0**23, 64: 1.5 * 2.0**52}
_MANTISSA = {32: 23, 64: 52}
_ONE = {32: 0x3F800000, 64: 0x3FF0000000000000}
_RANGE = {32: (-104.0, 88.8), 64: (-745.2, 709.8)}  # beyond, exp is 0 or infinite
_SIGMOID_END = {32: 88.0, 64: 708.0}  # 1 + e^end is finite still
_TANH_END = {32: 9.1, 64: 19.1}  # beyond, tanh rounds to 1


def number(value: float, bits: int) -> str:
    """A constant, exactly: LLVM takes the bits of a double, for float32 too."""
    if bits == 32:
        value = _as_float32(value)
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"


def _as_float32(value: float) -> float:
    try:
        return struct.unpack("<f", struct.pack("<f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


class Vectors:
    """Arithmetic on vectors of one width inside a function."""

    def __init__(self, f: Function, scalar: Scalar, width: int) -> None:
        self.f = f
        self.scalar = scalar
        self.width = width
        self.kind = scalar.vector(width)
        self.integers = f"<{width} x {scalar.integer}>"
        self.flags = f"<{width} x i1>"
        self.suffix = f"v{width}{scalar.suffix}"

    # -- making vectors -----------------------------------------------------------------------

    def constant(self, value: float) -> str:
        return self._splat(f"{self.scalar.name} {number(value, self.scalar.bits)}")

    def _integer(self, value: int) -> str:
        return self._splat(f"{self.scalar.integer} {value}")

    def _splat(self, element: str) -> str:
        return f"<{', '.join([element] * self.width)}>"

    def spread(self, value: str, kind: str | None = None) -> str:
        """One number in every lane."""
        kind = kind or self.scalar.name
        whole = f"<{self.width} x {kind}>"
        first = self.f.let(f"insertelement {whole} poison, {kind} {value}, i32 0")
        lanes = f"<{self.width} x i32> zeroinitializer"
        return self.f.let(f"shufflevector {whole} {first}, {whole} poison, {lanes}")

    # -- arithmetic ---------------------------------------------------------------------------

    def binary(self, name: str, a: str, b: str) -> str:
        """name: fadd, fsub, fmul or fdiv. A product and a sum may be rounded once, together.

        But not the difference of two products: equal ones would leave what is cut off from one.
        """
        how = "" if name == "fsub" and self.f.products.issuperset((a, b)) else "contract "
        made = self.f.let(f"{name} {how}{self.kind} {a}, {b}")
        if name == "fmul":
            self.f.products.add(made)
        return made

    def negative(self, a: str) -> str:
        return self.f.let(f"fneg {self.kind} {a}")

    def fma(self, a: str, b: str, c: str) -> str:
        return self._call("llvm.fma", a, b, c)

    def _call(self, name: str, *arguments: str) -> str:
        given = ", ".join(f"{self.kind} {a}" for a in arguments)
        return self.f.let(f"call {self.kind} @{name}.{self.suffix}({given})")

    def intrinsic(self, name: str, *arguments: str) -> str:
        """sqrt, fabs, sin, cos, log, pow, copysign: LLVM's own, or the C library's."""
        return self._call(f"llvm.{name}", *arguments)

    def compare(self, how: str, a: str, b: str) -> str:
        """how: ogt, olt, oeq, ..."""
        return self.f.let(f"fcmp {how} {self.kind} {a}, {b}")

    def select(self, flags: str, a: str, b: str, kind: str | None = None) -> str:
        kind = kind or self.kind
        return self.f.let(f"select {self.flags} {flags}, {kind} {a}, {kind} {b}")

    def number_of(self, flags: str) -> str:
        """1 where a flag is set, else 0."""
        return self.select(flags, self.constant(1.0), self.constant(0.0))

    def maximum(self, a: str, b: str) -> str:
        """NumPy's: NaN where either is."""
        return self._extreme("ogt", a, b)

    def minimum(self, a: str, b: str) -> str:
        return self._extreme("olt", a, b)

    def _extreme(self, how: str, a: str, b: str) -> str:
        chosen = self.select(self.compare(how, a, b), a, b)
        return self.select(self.compare("uno", a, a), a, chosen)

    def clamp(self, a: str, low: float, high: float) -> str:
        """Between two constants; NaN stays."""
        lowest, highest = self.constant(low), self.constant(high)
        a = self.select(self.compare("olt", a, lowest), lowest, a)
        return self.select(self.compare("ogt", a, highest), highest, a)

    # -- functions ----------------------------------------------------------------------------

    def _reduced(self, x: str) -> tuple[str, str]:
        """(n as the last bits of a vector of integers, e^r - 1)."""
        bits = self.scalar.bits
        big = self.constant(_ROUND[bits])
        shifted = self.fma(x, self.constant(1.0 / math.log(2)), big)
        n = self.binary("fsub", shifted, big)
        n = self.negative(n)
        r = self.fma(n, self.constant(_LOG2_HIGH[bits]), x)
        r = self.fma(n, self.constant(_LOG2_REST[bits]), r)
        q = self.constant(_Q[bits][-1])
        for coefficient in reversed(_Q[bits][:-1]):
            q = self.fma(q, r, self.constant(coefficient))
        square = self.f.let(f"fmul {self.kind} {r}, {r}")
        whole = self.f.let(f"bitcast {self.kind} {shifted} to {self.integers}")
        return whole, self.fma(square, q, r)

    def _power(self, n: str) -> str:
        """2^n, for n such that it is a normal number."""
        bits = self.scalar.bits
        shift = self._integer(_MANTISSA[bits])
        moved = self.f.let(f"shl {self.integers} {n}, {shift}")
        made = self.f.let(f"add {self.integers} {moved}, {self._integer(_ONE[bits])}")
        return self.f.let(f"bitcast {self.integers} {made} to {self.kind}")

    def exp(self, x: str) -> str:
        low, high = _RANGE[self.scalar.bits]
        n, less_one = self._reduced(self.clamp(x, low, high))
        # n in two halves: 2^n itself may be too large, or too small, for a normal number
        cut = self._integer(self.scalar.bits // 2)
        n = self.f.let(f"shl {self.integers} {n}, {cut}")
        n = self.f.let(f"ashr {self.integers} {n}, {cut}")
        half = self.f.let(f"ashr {self.integers} {n}, {self._integer(1)}")
        rest = self.f.let(f"sub {self.integers} {n}, {half}")
        first = self._power(half)
        value = self.fma(less_one, first, first)
        return self.f.let(f"fmul {self.kind} {value}, {self._power(rest)}")

    def sigmoid(self, x: str) -> str:
        """1 / (1 + e^-x); 0 where that is no normal number."""
        end = _SIGMOID_END[self.scalar.bits]
        n, less_one = self._reduced(self.clamp(self.negative(x), -end, end))
        power = self._power(n)
        above = self.binary("fadd", self.fma(less_one, power, power), self.constant(1.0))
        value = self.f.let(f"fdiv {self.kind} {self.constant(1.0)}, {above}")
        beyond = self.compare("olt", x, self.constant(-end))
        return self.select(beyond, self.constant(0.0), value)

    def tanh(self, x: str) -> str:
        """m / (m + 2) with m = e^2x - 1, which keeps the digits of a small x."""
        end = _TANH_END[self.scalar.bits]
        near = self.clamp(x, -end, end)
        n, less_one = self._reduced(self.binary("fadd", near, near))
        power = self._power(n)
        one = self.constant(1.0)
        m = self.fma(less_one, power, self.f.let(f"fsub {self.kind} {power}, {one}"))
        below = self.f.let(f"fadd {self.kind} {m}, {self.constant(2.0)}")
        return self.f.let(f"fdiv {self.kind} {m}, {below}")

    def softplus(self, x: str) -> str:
        """max(x, 0) + log(1 + e^-|x|)."""
        y = self.exp(self.negative(self.intrinsic("fabs", x)))
        positive = self.maximum(x, self.constant(0.0))
        return self.binary("fadd", positive, self._log_of_one_plus(y))

    def _log_of_one_plus(self, y: str) -> str:
        """log(1 + y), where 1 + y is rounded: log(u) y / (u - 1) makes up for it."""
        one = self.constant(1.0)
        u = self.f.let(f"fadd {self.kind} {y}, {one}")
        rounded = self.f.let(f"fsub {self.kind} {u}, {one}")
        same = self.compare("oeq", u, one)
        ratio = self.f.let(f"fdiv {self.kind} {y}, {self.select(same, one, rounded)}")
        exact = self.f.let(f"fmul {self.kind} {self.intrinsic('log', u)}, {ratio}")
        return self.select(same, y, exact)

    def sign(self, x: str) -> str:
        zero = self.constant(0.0)
        size = self.intrinsic("copysign", self.constant(1.0), x)
        nothing = self.compare("oeq", x, zero)
        value = self.select(nothing, zero, size)
        return self.select(self.compare("uno", x, x), x, value)

    # -- across lanes -------------------------------------------------------------------------

    def total(self, x: str) -> str:
        """The sum of all lanes."""
        start = number(-0.0, self.scalar.bits)
        return self.f.let(
            f"call reassoc {self.scalar.name} @llvm.vector.reduce.fadd.{self.suffix}"
            f"({self.scalar.name} {start}, {self.kind} {x})"
        )
