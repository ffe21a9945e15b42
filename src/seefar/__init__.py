"""seefar: find every mistake of an image classifier, and see which pixels caused it.

    data = seefar.load_data("cifar10")
    run = seefar.train(seefar.recipe("quick"), data)
    mistakes = seefar.find_mistakes(seefar.predict(run.model, data.test))

Names are imported when they are first used, so that `import seefar` loads neither torch nor matplotlib.
"""

from __future__ import annotations

import re
from importlib import import_module
from pkgutil import get_data
from typing import Any

__version__ = "0.1.0"

_STUB = (get_data(__name__, "__init__.pyi") or b"").decode()
_HOMES = {name: module for module, name in re.findall(r"from (seefar\S+) import \w+ as (\w+)", _STUB)}
"""Every public name, and the module it is imported from when it is first used; type checkers read the same file."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'seefar' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
