"""The command line: `interplay list | train | eval | plot | bench | doctor`. A user's mistake is one line on stderr and exit code 2."""

import sys
from collections.abc import Callable, Sequence

from interplay.envs.core import UsageError, did_you_mean

USAGE = """usage: interplay COMMAND ...

  list                     the recipes, one line each
  train RECIPE [flags]     run a recipe, over Ray or with --local in this process; `interplay train RECIPE --help` lists its flags
  eval RUN...              play trained policies without learning: scores with standard errors
  plot RUN...              curves of the runs' metrics as SVG and PNG
  bench [flags]            env steps/s by world and batch size
  doctor                   what this machine has, and what is wrong with it
"""


def _list(arguments: Sequence[str]) -> None:
    from interplay.cluster.show import list_recipes

    list_recipes(arguments)


def _train(arguments: Sequence[str]) -> None:
    from interplay.cluster.training import main

    main(arguments)


def _eval(arguments: Sequence[str]) -> None:
    from interplay.cluster.evaluate import main

    main(arguments)


def _plot(arguments: Sequence[str]) -> None:
    from interplay.cluster.plot import main

    main(arguments)


def _bench(arguments: Sequence[str]) -> None:
    from interplay.cluster.bench import main

    main(arguments)


def _doctor(arguments: Sequence[str]) -> None:
    from interplay.cluster.doctor import main

    main(arguments)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "list": _list,
    "train": _train,
    "eval": _eval,
    "plot": _plot,
    "bench": _bench,
    "doctor": _doctor,
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
        COMMANDS[words[0]](words[1:])
    except UsageError as error:
        print(f"interplay: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except BrokenPipeError:
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
