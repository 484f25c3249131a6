"""Imports go one way: modules <- objectives <- training <- families."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_ae

ROOT = Path(sklearn_ae.__file__).parent
LAYERS = ["modules", "objectives", "training", "families"]
FILES = sorted(ROOT.rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(name):
    parts = name.split(".")
    return LAYERS.index(parts[1]) if parts[0] == "sklearn_ae" and len(parts) > 1 and parts[1] in LAYERS else None


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_from_its_own_layer_or_from_below(path):
    own = layer_of(".".join(["sklearn_ae", *path.relative_to(ROOT).parts]))
    if own is not None:
        above = [name for name in imported(path) if (layer_of(name) or 0) > own]
        assert not above


def test_there_are_files_in_every_layer():
    assert {layer_of(f"sklearn_ae.{path.relative_to(ROOT).parts[0]}") for path in FILES} >= set(range(len(LAYERS)))


def test_only_the_net_and_the_estimators_import_skorch():
    users = {str(path.relative_to(ROOT)) for path in FILES for name in imported(path) if name.startswith("skorch")}
    assert users == {"training/net.py"}


def test_the_losses_know_only_torch():
    assert {name.split(".")[0] for name in imported(ROOT / "objectives" / "losses.py")} == {"math", "torch"}


def test_there_is_no_import_cycle():
    graph = {}
    names = {".".join(["sklearn_ae", *path.relative_to(ROOT).with_suffix("").parts]): path for path in FILES}
    for module, path in names.items():
        graph[module] = {
            target for name in imported(path) for target in (name, name.rpartition(".")[0]) if target in names
        }

    def reach(module, seen):
        for target in graph[module] - seen:
            seen |= {target} | reach(target, seen | {target})
        return seen

    assert [module for module in graph if module in reach(module, set())] == []


def test_importing_the_package_loads_nothing_heavy_beyond_its_dependencies():
    code = (
        "import sys, torch, sklearn.base, skorch; before = set(sys.modules); import sklearn_ae; "
        "print(sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not set(ast.literal_eval(out)) & {"matplotlib", "pandas", "polars", "dask", "onnx", "pythae", "pyod"}
