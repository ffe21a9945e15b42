"""seefar verify: a run folder against its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seefar.cli.options import Output, RunName
from seefar.errors import RunError


@dataclass(frozen=True)
class Verify:
    """Check a run folder against its manifest: which files are missing, changed or extra."""

    run: RunName
    """Run folder: a path, or a bare name under runs/."""
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        """Print that the folder is whole, or what is wrong with it."""
        from seefar.runs.folder import find_run, verify

        folder, problems = find_run(self.run), verify(self.run)
        if problems:
            raise RunError(f"{folder} is not as its manifest says:\n  " + "\n  ".join(problems))
        print(f"{folder} is whole: every file is as its manifest says")
