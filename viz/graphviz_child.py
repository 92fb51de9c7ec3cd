"""Run as a program: DOT on standard input, the rendered bytes on standard output.

A process of its own, so that a layout can be stopped and what C libraries print stays in here.
Arguments: the directory to import pygraphviz from, the layout engine, the output format.
"""

import sys


def main() -> int:
    directory, engine, form = sys.argv[1:4]
    sys.path.append(directory)
    try:
        import pygraphviz
    except ImportError as error:
        print(f"pygraphviz cannot be imported: {error}", file=sys.stderr)
        return 3
    graph = pygraphviz.AGraph(string=sys.stdin.buffer.read().decode("utf-8"))
    sys.stdout.buffer.write(graph.draw(format=form, prog=engine) or b"")
    return 0


if __name__ == "__main__":
    sys.exit(main())
