"""Products of matrices, for matrices that are packed once and used at every step.

The right operand (K, N) is packed into panels of two registers' width: for each k its numbers side
by side, so that a panel is read from end to end. A block of the result, up to 12 rows by one
panel, stays in registers while k runs over the whole depth.
Packed layout: [panel][k][panel width], the last panel padded with zeros.
"""

from __future__ import annotations

from .target import Machine
from .text import Function, Scalar

__all__ = ["Products"]

_WIDE = {1: 4, 2: 4, 3: 4}  # rows -> panels at a time: few rows need many sums to keep busy


class Products:
    """Writes the functions that multiply; each distinct one once."""

    def __init__(self, host: Machine, scalar: Scalar) -> None:
        self.host = host
        self.scalar = scalar
        self.width = host.vectors * scalar.lanes
        self.functions: dict[str, Function] = {}

    def panels(self, columns: int) -> list[int]:
        """How many registers wide each panel is."""
        full, rest = divmod(columns, self.width)
        return [self.host.vectors] * full + ([-(-rest // self.scalar.lanes)] if rest else [])

    def padded(self, columns: int) -> int:
        """Columns that are written: whole registers."""
        return self.scalar.padded(columns)

    def packed_size(self, depth: int, columns: int) -> int:
        """How many numbers the packed matrix takes."""
        return depth * len(self.panels(columns)) * self.width

    # -- the functions ------------------------------------------------------------------------

    def times_packed(
        self, depth: int, columns: int, row_a: int, step_a: int, row_c: int, *, add: bool
    ) -> str:
        """C (rows, columns) = or += A (rows, depth) P: void(A, P, C, rows).

        row_a, row_c: numbers from one row to the next; step_a: from one k to the next.
        """
        name = f"times_{depth}x{columns}_{row_a}_{step_a}_{row_c}_{'add' if add else 'set'}"
        if name in self.functions:
            return name
        f = Function(f"internal void @{name}(ptr %A, ptr %P, ptr %C, i64 %rows)")
        self.functions[name] = f
        kind = self.scalar.name
        widths = self.panels(columns)
        full = sum(w == self.host.vectors for w in widths)
        panel = depth * self.width

        def few_rows(rows: int) -> None:
            """All rows against several panels at a time."""
            many = _WIDE.get(rows, 1)
            done = full // many * many if many > 1 else 0
            if done:
                with f.loop(done, 0, many) as p:
                    self._call(
                        f, rows, self.host.vectors, many, depth, "%A", p, "%C", panel, strides, add
                    )
            for k in range(done, len(widths)):
                self._call(f, rows, widths[k], 1, depth, "%A", k, "%C", panel, strides, add)

        strides = row_a, step_a, row_c
        most = self.host.rows
        # all rows against one panel before the next: the panel stays in the nearest cache
        few = f.let(f"icmp sle i64 %rows, {max(_WIDE)}")
        small, large, end = f.label(), f.label(), f.label()
        f.do(f"br i1 {few}, label %{small}, label %{large}")
        f.start(small)
        with f.cases("%rows", list(_WIDE)) as labels:
            for rows, label in labels.items():
                f.start(label)
                few_rows(rows)
                f.leave()
        f.do(f"br label %{end}")
        f.start(large)
        up = f.add("%rows", most - 1)
        blocks = f.let(f"sdiv i64 {up}, {most}")
        base = f.let(f"sdiv i64 %rows, {blocks}")
        longer = f.let(f"srem i64 %rows, {blocks}")
        choices = range(min(max(_WIDE) + 1, (most + 1) // 2), most + 1)

        def over_rows(width: int, p: str | int) -> None:
            at = f.slot("i64")
            f.do(f"store i64 0, ptr {at}")
            with f.loop(blocks) as b:
                row = f.load("i64", at, 8)
                more = f.let(f"icmp slt i64 {b}, {longer}")
                count = f.add(base, f.let(f"zext i1 {more} to i64"))
                a = f.at(kind, "%A", f.mul(row, row_a))
                c = f.at(kind, "%C", f.mul(row, row_c))
                with f.cases(count, list(choices)) as labels:
                    for rows, label in labels.items():
                        f.start(label)
                        self._call(f, rows, width, 1, depth, a, p, c, panel, strides, add)
                        f.leave()
                f.do(f"store i64 {f.add(row, count)}, ptr {at}")

        if full:
            with f.loop(full) as p:
                over_rows(self.host.vectors, p)
        if len(widths) > full:
            over_rows(widths[-1], full)
        f.do(f"br label %{end}")
        f.start(end)
        f.do("ret void")
        return name

    def add_outer(self, rows: int, columns: int, row_a: int) -> str:
        """C (rows, padded columns) += A^T P: void(A, P, C, depth, capacity).

        A (depth, rows) has rows `row_a` numbers apart; P is packed with panels of `capacity` rows,
        of which `depth` count.
        """
        name = f"outer_{rows}x{columns}_{row_a}"
        if name in self.functions:
            return name
        f = Function(f"internal void @{name}(ptr %A, ptr %P, ptr %C, i64 %depth, i64 %capacity)")
        self.functions[name] = f
        kind, row_c = self.scalar.name, self.padded(columns)
        most = self.host.rows
        blocks = -(-rows // most)
        sizes = [rows // blocks + (k < rows % blocks) for k in range(blocks)]
        widths = self.panels(columns)
        full = sum(w == self.host.vectors for w in widths)
        strides = 1, row_a, row_c
        panel = f.mul("%capacity", self.width)

        def over_rows(width: int, p: str | int) -> None:
            first = 0
            for size in sorted(set(sizes), reverse=True):
                count = sizes.count(size)
                with f.loop(count) as b:
                    row = f.add(f.mul(b, size), first)
                    a = f.at(kind, "%A", row)
                    c = f.at(kind, "%C", f.mul(row, row_c))
                    self._call(f, size, width, 1, "%depth", a, p, c, panel, strides, True)
                first += count * size

        if full:
            with f.loop(full) as p:
                over_rows(self.host.vectors, p)
        if len(widths) > full:
            over_rows(widths[-1], full)
        f.do("ret void")
        return name

    def _call(
        self,
        f: Function,
        rows: int,
        vectors: int,
        panels: int,
        depth: int | str,
        a: str,
        p: str | int,
        c: str,
        panel: int | str,
        strides: tuple[int, int, int],
        add: bool,
    ) -> None:
        """Multiply one block of rows with panels p, p + 1, ..."""
        name = self._block(rows, vectors, panels, strides, add)
        packed = f.at(self.scalar.name, "%P", f.mul(p, panel))
        result = f.at(self.scalar.name, c, f.mul(p, self.width))
        f.do(f"call void @{name}(ptr {a}, ptr {packed}, ptr {result}, i64 {depth}, i64 {panel})")

    def _block(
        self, rows: int, vectors: int, panels: int, strides: tuple[int, int, int], add: bool
    ) -> str:
        """void(A, P, C, depth, numbers per panel): one block of the result, in registers."""
        row_a, step_a, row_c = strides
        name = f"block_{rows}x{vectors}x{panels}_{row_a}_{step_a}_{row_c}_{'add' if add else 'set'}"
        if name in self.functions:
            return name
        parameters = "ptr noalias readonly %A, ptr noalias readonly %P, ptr noalias %C"
        f = Function(f"internal void @{name}({parameters}, i64 %depth, i64 %panel)", "#0")
        self.functions[name] = f
        s = self.scalar
        vector = s.vector(s.lanes)
        cells = [(m, v) for m in range(rows) for v in range(vectors * panels)]

        def place(m: int, v: int) -> str:
            offset = v // vectors * self.width + v % vectors * s.lanes
            return f.at(s.name, "%C", m * row_c + offset)

        sums = {}
        for m, v in cells:
            sums[m, v] = f.load(vector, place(m, v), s.bytes) if add else "zeroinitializer"
        following = {cell: f"%n{cell[0]}_{cell[1]}" for cell in cells}
        f.do("br label %steps")
        f.start("steps")
        f.do("%k = phi i64 [0, %entry], [%k1, %steps]")
        now = {}
        for cell in cells:
            now[cell] = f.let(f"phi {vector} [{sums[cell]}, %entry], [{following[cell]}, %steps]")
        packed = f.at(s.name, "%P", f.mul("%k", self.width))
        weights = []
        for v in range(vectors * panels):
            start = packed
            if v // vectors:
                start = f.at(s.name, packed, f.mul("%panel", v // vectors))
            weights.append(f.load(vector, f.at(s.name, start, v % vectors * s.lanes), s.bytes))
        given = f.at(s.name, "%A", f.mul("%k", step_a))
        lanes = f"<{s.lanes} x i32> zeroinitializer"
        for m in range(rows):
            one = f.load(s.name, f.at(s.name, given, m * row_a), s.bytes)
            first = f.let(f"insertelement {vector} poison, {s.name} {one}, i32 0")
            all_lanes = f.let(f"shufflevector {vector} {first}, {vector} poison, {lanes}")
            for v, weight in enumerate(weights):
                f.do(
                    f"{following[m, v]} = call {vector} @llvm.fma.v{s.lanes}{s.suffix}"
                    f"({vector} {all_lanes}, {vector} {weight}, {vector} {now[m, v]})"
                )
        f.do("%k1 = add nuw nsw i64 %k, 1")
        f.do("%more = icmp slt i64 %k1, %depth")
        f.do("br i1 %more, label %steps, label %end")
        f.start("end")
        for m, v in cells:
            f.store(vector, following[m, v], place(m, v), s.bytes)
        f.do("ret void")
        return name

    # -- packing ------------------------------------------------------------------------------

    def pack(self, depth: int, columns: int) -> str:
        """Pack a matrix with any strides (in numbers): void(M, stride of k, stride of n, P)."""
        name = f"pack_{depth}x{columns}"
        if name in self.functions:
            return name
        f = Function(f"internal void @{name}(ptr %M, i64 %sk, i64 %sn, ptr %P)")
        self.functions[name] = f
        s, width = self.scalar, self.width
        for p in range(len(self.panels(columns))):
            start = p * width
            count = min(width, columns - start)
            base = f.at(s.name, "%P", p * depth * width)
            if count < width:
                with f.loop(depth * width) as k:
                    f.store(s.name, "0.0", f.at(s.name, base, k), s.bytes)
        full = columns // width

        def panel(p: str | int, count: int) -> None:
            source = f.at(s.name, "%M", f.mul(f.mul(p, width), "%sn"))
            target = f.at(s.name, "%P", f.mul(p, depth * width))
            with f.loop(depth) as k:
                row = f.at(s.name, source, f.mul(k, "%sk"))
                out = f.at(s.name, target, f.mul(k, width))
                with f.loop(count) as n:
                    one = f.load(s.name, f.at(s.name, row, f.mul(n, "%sn")), s.bytes)
                    f.store(s.name, one, f.at(s.name, out, n), s.bytes)

        if full:
            with f.loop(full) as p:
                panel(p, width)
        if columns % width:
            panel(full, columns % width)
        f.do("ret void")
        return name
