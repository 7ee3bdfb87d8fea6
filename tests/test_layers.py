"""The house: imports point downward, and only cluster/ knows Ray."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ["envs", "policies", "learners", "cluster"]
FILES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imported(path):
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_imports_point_downward(path):
    own = ROOMS.index(path.parent.name)
    for name in imported(path):
        parts = name.split(".")
        assert parts[0] not in ROOMS, f"{name}: the bare name would load every class twice"
        if parts[0] == "interplay" and len(parts) > 1:
            assert ROOMS.index(parts[1]) <= own, f"{path.parent.name} must not import {name}"
        if parts[0] == "ray":
            assert path.parent.name == "cluster", f"{path} imports ray"


def test_every_room_has_files():
    assert {path.parent.name for path in FILES} == set(ROOMS)


def test_in_process_path_does_not_load_ray():
    code = (
        "import sys, interplay.envs, interplay.learners.ppo, interplay.learners.metagame, interplay.learners.dice, "
        "interplay.cluster.runner, interplay.cluster.run, interplay.cluster.recipes, interplay.cluster.training; "
        "sys.exit(any(m == 'ray' or m.startswith('ray.') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_only_files_of_code_one_level_deep():
    for room in ROOMS:
        folders = [p.name for p in (ROOT / room).iterdir() if p.is_dir() and p.name != "__pycache__"]
        assert folders == [], f"{room} has folders {folders}"
