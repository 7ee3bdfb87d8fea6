"""What a person sees of a sweep while it runs: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from typing import Any

from rich.console import Console
from rich.progress import Progress

from interplay.cluster.panel import PLAIN_EVERY
from interplay.cluster.record import RunFolder


class Watch:
    """What a person sees of a sweep: a bar in a terminal, plain lines elsewhere. Use as a context."""

    def __init__(self, todo: list[RunFolder], quiet: bool) -> None:
        self.updates = {str(trial.path.resolve()): 0 for trial in todo}
        self.total = sum(trial.experiment.run.updates for trial in todo)
        self.ended, self.last, self.quiet = 0, 0.0, quiet
        console = Console(stderr=True)
        self.bar = Progress(console=console, transient=True) if console.is_terminal and not quiet else None

    def __enter__(self) -> "Watch":
        if self.bar:
            self.bar.start()
            self.task = self.bar.add_task("updates", total=self.total)
        return self

    def __exit__(self, *details: Any) -> None:
        if self.bar:
            self.bar.stop()

    def see(self, path: str, update: int, ended: bool) -> None:
        """A trial has got to an update, or has ended."""
        self.updates[path], self.ended = max(self.updates[path], update), self.ended + ended
        done, text = sum(self.updates.values()), f"{self.ended}/{len(self.updates)} trials ended"
        if self.bar:
            self.bar.update(self.task, completed=done, description=text)
        elif not self.quiet and time.perf_counter() - self.last > PLAIN_EVERY:
            self.last = time.perf_counter()
            print(f"{text}, {done}/{self.total} updates", file=sys.stderr, flush=True)

    def callback(self) -> Any:
        """What Tune calls."""
        from ray import tune

        see = self.see

        class Seen(tune.Callback):
            def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any) -> None:
                see(trial.config["path"], int(result.get("update", 0)), False)

            def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
                see(trial.config["path"], 0, True)

            def on_trial_error(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
                see(trial.config["path"], 0, True)

        return Seen()
