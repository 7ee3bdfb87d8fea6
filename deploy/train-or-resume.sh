#!/usr/bin/env bash
# Train a recipe into a run folder, or go on with the run that is there: what a scheduler may start again and again.
#   train-or-resume RECIPE RUN_DIR [flags of interplay train]
set -euo pipefail
if [ "$#" -lt 2 ]; then
  echo "usage: train-or-resume RECIPE RUN_DIR [flags of interplay train]" >&2
  exit 2
fi
recipe=$1 run=$2
shift 2
if grep -qs '"status": "finished"' "$run/summary.json"; then
  echo "$run is finished"
  exit 0
fi
if [ -n "$(find "$run/checkpoints" -mindepth 1 -maxdepth 1 -name '[0-9]*' 2>/dev/null)" ]; then
  exec interplay train "$recipe" --resume "$run" "$@"
fi
# A start that died before its first checkpoint has nothing to go on with; it is kept aside.
if [ -e "$run" ]; then
  mv "$run" "$run.$(date +%s).unstarted"
fi
exec interplay train "$recipe" --run-dir "$run" "$@"
