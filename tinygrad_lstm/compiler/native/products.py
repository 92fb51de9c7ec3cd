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
        """Pack a matrix with any strides (in numbers): void(M, stride of k, stride of n, P).

        Rows that lie side by side are copied register by register; where columns do, whole squares
        are turned in registers.
        """
        name = f"pack_{depth}x{columns}"
        if name in self.functions:
            return name
        f = Function(f"internal void @{name}(ptr %M, i64 %sk, i64 %sn, ptr %P)")
        self.functions[name] = f
        if columns % self.width:
            self._clear_last_panel(f, depth, columns)
        by_row, by_column, neither, end = (f.label() for _ in range(4))
        other = f.label()
        f.do(f"br i1 {f.let('icmp eq i64 %sn, 1')}, label %{by_row}, label %{other}")
        f.start(other)
        f.do(f"br i1 {f.let('icmp eq i64 %sk, 1')}, label %{by_column}, label %{neither}")
        lanes = self.scalar.lanes
        full, square = columns // lanes * lanes, depth // lanes * lanes
        f.start(by_row)
        self._pack_rows(f, depth, columns)
        f.do(f"br label %{end}")
        f.start(by_column)
        self._pack_squares(f, depth, square, full)
        self._pack_columns(f, (square, depth), (0, full), 1, depth)
        self._pack_columns(f, (0, depth), (full, columns), 1, depth)
        f.do(f"br label %{end}")
        f.start(neither)
        self._pack_columns(f, (0, depth), (0, columns), 1, depth)
        f.do(f"br label %{end}")
        f.start(end)
        f.do("ret void")
        return name

    def _clear_last_panel(self, f: Function, depth: int, columns: int) -> None:
        s, panel = self.scalar, depth * self.width
        base = f.at(s.name, "%P", columns // self.width * panel)
        with f.loop(panel) as k:
            f.store(s.name, "0.0", f.at(s.name, base, k), s.bytes)

    def _column(self, f: Function, n: str | int, depth: int) -> tuple[str, str]:
        """Where column n of the matrix begins, and where it goes."""
        s = self.scalar
        panel, inside = f.let(f"sdiv i64 {n}, {self.width}"), f.let(f"srem i64 {n}, {self.width}")
        target = f.at(s.name, "%P", f.add(f.mul(panel, depth * self.width), inside))
        return f.at(s.name, "%M", f.mul(n, "%sn")), target

    def _pack_columns(
        self, f: Function, rows: tuple[int, int], columns: tuple[int, int], width: int, depth: int
    ) -> None:
        """Row by row, `width` columns at a time."""
        if rows[0] == rows[1] or columns[0] == columns[1]:
            return
        s = self.scalar
        kind = s.vector(width)
        with f.loop(columns[1], columns[0], width) as n:
            source, target = self._column(f, n, depth)
            with f.loop(rows[1], rows[0]) as k:
                some = f.load(kind, f.at(s.name, source, f.mul(k, "%sk")), s.bytes)
                f.store(kind, some, f.at(s.name, target, f.mul(k, self.width)), s.bytes)

    def _pack_rows(self, f: Function, depth: int, columns: int) -> None:
        """Register by register; what is left in narrower ones."""
        start, width = 0, self.scalar.lanes
        while start < columns:
            stop = start + (columns - start) // width * width
            self._pack_columns(f, (0, depth), (start, stop), width, depth)
            start, width = stop, width // 2

    def _pack_squares(self, f: Function, depth: int, rows: int, columns: int) -> None:
        s = self.scalar
        if rows and columns:
            name = self._turn()
            with f.loop(columns, 0, s.lanes) as n:
                source, target = self._column(f, n, depth)
                with f.loop(rows, 0, s.lanes) as k:
                    a = f.at(s.name, source, k)
                    c = f.at(s.name, target, f.mul(k, self.width))
                    f.do(f"call void @{name}(ptr {a}, i64 %sn, ptr {c})")

    def _turn(self) -> str:
        """void(A, row of A, C): a square as wide as a register, turned, into a panel's rows.

        In each round, registers a distance apart exchange what is on the wrong side of it.
        """
        name = "turn"
        if name in self.functions:
            return name
        f = Function(f"internal void @{name}(ptr %A, i64 %row, ptr %C)")
        self.functions[name] = f
        s, lanes = self.scalar, self.scalar.lanes
        vector = s.vector(lanes)
        rows = [
            f.load(vector, f.at(s.name, "%A", f.mul(k, "%row")), s.bytes) for k in range(lanes)
        ]
        distance = lanes // 2
        while distance:
            for k in range(lanes):
                if not k & distance:
                    a, b = rows[k], rows[k + distance]
                    for place, shift in ((k, 0), (k + distance, distance)):
                        chosen = [
                            e + shift if not e & distance else lanes + e + shift - distance
                            for e in range(lanes)
                        ]
                        mask = ", ".join(f"i32 {e}" for e in chosen)
                        rows[place] = f.let(
                            f"shufflevector {vector} {a}, {vector} {b}, <{lanes} x i32> <{mask}>"
                        )
            distance //= 2
        for k, values in enumerate(rows):
            f.store(vector, values, f.at(s.name, "%C", k * self.width), s.bytes)
        f.do("ret void")
        return name
