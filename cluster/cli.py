"""The command line: `interplay COMMAND ...`. A user's mistake is one line on stderr and exit code 2."""

import sys
from collections.abc import Sequence
from importlib import import_module

from interplay.envs.core import UsageError, did_you_mean

USAGE = """usage: interplay COMMAND ...

  list                     the recipes, one line each
  train RECIPE [flags]     run a recipe, over Ray or with --local in this process; `interplay train RECIPE --help` lists its flags
  eval RUN...              play trained policies without learning: scores with standard errors; --suite mazes: exams in unseen mazes
  crossplay RUN|BOT...     who plays well with whom: a matrix of scores, runs and rule bots mixed
  report RUN|BOT...        one HTML page about coordination: cross-play, levels, what was known of cards, published figures
  plot RUN...              curves of the runs' metrics as SVG and PNG
  gallery RUN              mazes that a run's teacher proposed, as training went on, as PNG and GIF
  submit RECIPE [flags]    run a recipe as a job of a Ray cluster: --address http://HEAD:8265, --storage URI for its run folder
  jobs VERB ...            of a cluster: list, logs ID, stop ID, fetch ID DEST
  sweep RECIPE [flags]     a grid of settings by seeds, over Ray Tune: --seeds 8 --set optim.lr=1e-3,3e-4; run again, it goes on
  scale RECIPE [flags]     speed by env actors, learners and nodes, measured; --simulate 1000: predicted
  bench [flags]            env steps/s by world and batch size
  doctor                   what this machine has, and what is wrong with it
"""


# Where a command lives; modules are imported when they are asked for, since Ray and RLlib take seconds.
COMMANDS = {
    "list": ("show", "list_recipes"),
    "train": ("training", "main"),
    "eval": ("evaluate", "main"),
    "crossplay": ("crossplay", "main"),
    "report": ("report", "main"),
    "plot": ("plot", "main"),
    "gallery": ("gallery", "main"),
    "submit": ("submit", "main"),
    "jobs": ("jobs", "main"),
    "sweep": ("sweep", "main"),
    "scale": ("scale", "main"),
    "bench": ("bench", "main"),
    "doctor": ("doctor", "main"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command; never returns normally from a mistake."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        raise SystemExit(0 if words else 2)
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("interplay"))
        return
    try:
        if words[0] not in COMMANDS:
            raise UsageError(f"command {words[0]!r} is unknown{did_you_mean(words[0], COMMANDS)}")
        module, name = COMMANDS[words[0]]
        getattr(import_module(f"interplay.cluster.{module}"), name)(words[1:])
    except UsageError as error:
        print(f"interplay: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
