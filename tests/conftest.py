"""Worlds that stand beside the tests have to be importable by name: numba's cache on disk keeps the rules' module by its name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
