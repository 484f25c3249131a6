"""The structure of the package: layers, imports, and the sizes of files, classes and functions."""

import ast
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import sklearn_ae

ROOT = Path(sklearn_ae.__file__).parent
LAYERS = [
    "modules",
    "likelihoods",
    "objectives",
    "training",
    "persistence",
    "model",
    "shipping",
    "estimators",
    "metrics",
    "plotting",
    "parallel",
]
TABLES_BELOW = LAYERS.index("model")  # tables stand beside the first four layers
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text()) for path in FILES}
every_file = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def imported(path):
    """Yield the names that a file imports, modules and what it takes from them."""
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def module_of(path):
    return ".".join(["sklearn_ae", *path.relative_to(ROOT).with_suffix("").parts])


MODULES = {module_of(path): path for path in FILES}


def internal_imports(path):
    """Return the modules of the package that a file imports."""
    return {target for name in imported(path) for target in (name, name.rpartition(".")[0]) if target in MODULES}


def folder_of(module):
    parts = module.split(".")
    return parts[1] if len(parts) > 2 else ""


def may_import(own, other):
    if "" in (own, other):  # the package itself, warning.py
        return True
    if own == "tables":
        return other == "tables"
    if other == "tables":
        return LAYERS.index(own) >= TABLES_BELOW
    return LAYERS.index(other) <= LAYERS.index(own)


@every_file
def test_a_file_imports_from_its_own_layer_or_from_below(path):
    own = folder_of(module_of(path))
    assert [name for name in internal_imports(path) if not may_import(own, folder_of(name))] == []


@every_file
def test_only_the_package_and_its_layers_on_top_import_files_outside_of_the_layers(path):
    if folder_of(module_of(path)):
        outside = {name for name in internal_imports(path) if not folder_of(name)}
        assert outside <= {"sklearn_ae.warning"}


def test_every_layer_has_files():
    assert {folder_of(module) for module in MODULES} - {""} == {*LAYERS, "tables"}


def test_only_the_net_and_its_callbacks_import_skorch():
    users = {str(path.relative_to(ROOT)) for path in FILES for name in imported(path) if name.startswith("skorch")}
    assert users == {"training/net.py", "training/callbacks.py"}


def test_the_losses_import_only_torch():
    assert {name.split(".")[0] for name in imported(ROOT / "objectives" / "losses.py")} == {"math", "torch"}


def test_there_is_no_import_cycle():
    graph = {module: internal_imports(path) - {module} for module, path in MODULES.items()}

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


# Sizes


@every_file
def test_a_file_is_short_and_imports_few_modules_of_the_package(path):
    assert len(path.read_text().splitlines()) <= 450
    assert len(internal_imports(path)) <= 8 or path == ROOT / "__init__.py"


def functions_in(tree):
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def test_classes_have_few_methods():
    classes = [node for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    methods = {node.name: sum(isinstance(part, ast.FunctionDef) for part in node.body) for node in classes}
    assert {name: n for name, n in methods.items() if n > 26} == {}


def lines_of_code(function):
    """Return the number of lines of a function's body, without its docstring."""
    first, *others = function.body
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and others
    body = others if is_docstring else function.body
    return body[-1].end_lineno - body[0].lineno + 1


def test_functions_are_short():
    lengths = {f"{path.name}: {f.name}": lines_of_code(f) for path, tree in TREES.items() for f in functions_in(tree)}
    assert {name: n for name, n in lengths.items() if n > 40} == {}
    assert statistics.median(lengths.values()) <= 4
