"""A step compiled: traced once, transformed by passes from graph to graph, run as one loop.

Knows ops, not cells: nothing here is about an LSTM. `plan` puts the passes in order; `recorded`
makes a compiled scan one op of the recorded graph.
"""
