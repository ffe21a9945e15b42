"""seefar app: a trained network in the browser, with pictures to drop and to paint over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from seefar.cli.options import Finished, Output, RunName


@dataclass(frozen=True)
class App:
    """Try a trained network in the browser: drop a picture, paint over it, watch answer and map change."""

    run: RunName
    """Run folder: a path, or a bare name under runs/."""
    host: str = "127.0.0.1"
    """Address to listen on. 0.0.0.0 lets other machines in; there is no password."""
    port: int = 7860
    """Port to listen on."""
    finished: Finished = field(default_factory=Finished)
    output: Output = field(default_factory=Output)

    def __call__(self, words: Sequence[str]) -> None:
        """Load the run and its mistakes, and serve until interrupted."""
        from seefar.app import load_gradio, make_app, open_studio, serve
        from seefar.progress import SILENT

        load_gradio()  # the first thing that may be missing
        studio, name = open_studio(
            self.run,
            device=self.finished.device,
            data=self.finished.data,
            data_dir=self.finished.data_dir,
            progress=SILENT if self.output.quiet else None,
        )
        app = make_app(studio, name)
        print(f"http://{self.host}:{self.port} shows {name}; Ctrl-C ends it", flush=True)
        serve(app, self.host, self.port)
