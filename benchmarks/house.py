"""How complicated the package is: modules, lines, longest import chain, public names, files read to follow one command.

    python benchmarks/house.py

Only the source is read, nothing is imported. An import within a function counts, one for type checkers does not.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "seefar"
WAY = ("cli.main", "pipeline", "artifacts", "report.tables"), ("artifacts", "runs.store", "runs.files")
"""From the command to the text of mistakes.csv, and to the file on the disk."""


def modules(source: Path = SOURCE) -> dict[str, Path]:
    """Every module by its name below `seefar`; a package is its `__init__`, if that has imports."""
    paths = (path for path in sorted(source.rglob("*.py")) if path != source / "__init__.py")
    return {".".join(path.relative_to(source).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def _statements(node: ast.AST) -> Iterator[ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        if isinstance(child, ast.ImportFrom):
            yield child
        yield from _statements(child)


@cache
def imports(source: Path = SOURCE) -> dict[str, tuple[str, ...]]:
    """The modules of seefar that each module imports."""
    known = modules(source)
    found: dict[str, set[str]] = {name: set() for name in known}
    for name, path in known.items():
        for statement in _statements(ast.parse(path.read_text(encoding="utf-8"))):
            if (module := statement.module or "").split(".")[0] == "seefar":
                base = module.removeprefix("seefar").removeprefix(".")
                within = (f"{base}.{alias.name}".removeprefix(".") for alias in statement.names)
                found[name] |= {one if one in known else base for one in within} & known.keys()
    return {name: tuple(sorted(others - {name})) for name, others in found.items()}


def longest_chain(source: Path = SOURCE) -> list[str]:
    """The longest path along imports, each module once."""
    graph = imports(source)

    @cache
    def chain(name: str) -> tuple[str, ...]:
        return (name, *max((chain(other) for other in graph[name]), key=len, default=()))

    return list(max(map(chain, graph), key=len))


def files_read(source: Path = SOURCE) -> list[str]:
    """What a reader opens to follow `seefar run` to mistakes.csv: the modules on the shortest imports along `WAY`."""
    steps = [pair for way in WAY for pair in pairwise(way)]
    return list(dict.fromkeys(name for pair in steps for name in _shortest(*pair, source)))


def _shortest(first: str, last: str, source: Path) -> list[str]:
    graph, paths, seen = imports(source), [[first]], {first}
    for path in paths:
        if path[-1] == last:
            return path
        new = [other for other in graph[path[-1]] if other not in seen]
        seen |= set(new)
        paths += [[*path, other] for other in new]
    raise LookupError(f"{first} does not lead to {last}")


def public_names(source: Path = SOURCE) -> int:
    """Names that `import seefar` offers, but for the version."""
    return (source / "__init__.pyi").read_text(encoding="utf-8").count(" import ")


def main() -> None:
    """Print the measures as JSON."""
    chain, lines = longest_chain(), {name: path.read_text("utf-8").count("\n") for name, path in modules().items()}
    top = (*SOURCE.glob("__init__.py*"),)
    measures = {
        "modules": len(lines) + 1,
        "lines": sum(lines.values()) + sum(path.read_text("utf-8").count("\n") for path in top),
        "most_lines": max(lines.values()),
        "longest_import_chain": len(chain),
        "chain": chain,
        "public_names": public_names(),
        "files_from_the_command_to_the_table": len(files_read()),
        "files": files_read(),
    }
    print(json.dumps(measures, indent=2))


if __name__ == "__main__":
    main()
