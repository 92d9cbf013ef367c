"""Arrows between packages point down, optional packages are imported late and in one place."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ARROWS = {
    "circuits": {"circuits"},
    "qkan": {"qkan", "circuits"},
    "classical": {"classical"},
    "benchmarks": {"benchmarks", "circuits", "qkan", "classical"},
}
"""What each of our packages may import of ours."""

SHIPPED = ("circuits", "qkan", "classical")

OPTIONAL = {
    "pennylane": {"circuits/engines/pennylane.py"},
    "qiskit": {
        "circuits/engines/qiskit.py",
        "circuits/engines/sampler.py",
        "circuits/engines/packing.py",
        "circuits/calibration.py",
    },
    "qiskit_aer": {"circuits/engines/qiskit.py", "circuits/engines/sampler.py", "circuits/calibration.py"},
    "filelock": {"circuits/journal.py"},
    "qiskit_ibm_runtime": {"circuits/calibration.py"},
    "lightning": {"qkan/lightning.py"},
    "skimage": set(),
    "sklearn": {"classical/selectors.py"},
    "matplotlib": {"qkan/survival.py"},
    "triton": set(),
}
"""The file of the shipped packages that is about each optional package."""

ON_DEMAND = {"classical/selectors.py": {"sklearn"}}
"""The files that import an optional package at once, because their classes are subclasses of its own: users import them
by name, our packages never do."""

GATE_MAKERS = {"circuits/ansatz.py", "circuits/angles.py", "circuits/lower.py", "circuits/native.py"}
"""The ansätze, and rewrites of circuits that exist already."""


def files(*packages):
    return [
        path.relative_to(ROOT).as_posix() for package in packages for path in sorted((ROOT / package).rglob("*.py"))
    ]


@cache
def tree(file):
    return ast.parse((ROOT / file).read_text())


def modules(node):
    """The dotted names that a node imports: statements, and calls such as import_module("name")."""
    match node:
        case ast.Import(names=names):
            return {alias.name for alias in names}
        case ast.ImportFrom(module=str(module), level=0):
            return {module}
        case ast.Call(
            func=ast.Name(id="import_module" | "third_party" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(module)), *_],
        ):
            return {module}
    return set()


def imported(nodes):
    return {name for node in nodes for name in modules(node)}


def packages(names):
    return {name.partition(".")[0] for name in names}


def at_import_time(node):
    """The nodes that run when a module is imported: not what is in functions, nor what only type checkers read."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() | ast.If(test=ast.Name("TYPE_CHECKING")):
                continue
        yield child
        yield from at_import_time(child)


@pytest.mark.parametrize("file", files(*ARROWS))
def test_imports_follow_the_arrows(file):
    ours = packages(imported(ast.walk(tree(file)))) & ARROWS.keys()
    assert ours <= ARROWS[file.partition("/")[0]]


@pytest.mark.parametrize("file", files(*SHIPPED))
def test_no_relative_imports(file):
    assert not [node for node in ast.walk(tree(file)) if isinstance(node, ast.ImportFrom) and node.level]


@pytest.mark.parametrize("file", files(*SHIPPED))
def test_importing_needs_torch_and_numpy_only(file):
    allowed = sys.stdlib_module_names | {"torch", "numpy"} | ARROWS.keys() | ON_DEMAND.get(file, set())
    assert packages(imported(at_import_time(tree(file)))) <= allowed


@pytest.mark.parametrize("file", files(*SHIPPED))
def test_no_package_imports_what_needs_an_optional_one(file):
    demanding = {path.removesuffix(".py").replace("/", ".") for path in ON_DEMAND}
    assert not imported(ast.walk(tree(file))) & demanding


@pytest.mark.parametrize("file", files(*SHIPPED))
def test_optional_packages_stay_in_the_file_that_is_about_them(file):
    used = packages(imported(ast.walk(tree(file))))
    assert {package for package in used & OPTIONAL.keys() if file not in OPTIONAL[package]} == set()


@pytest.mark.parametrize("file", files(*SHIPPED))
def test_only_the_ansatz_and_rewrites_build_gates(file):
    calls = [node.func for node in ast.walk(tree(file)) if isinstance(node, ast.Call)]
    names = {getattr(func, "id", getattr(func, "attr", None)) for func in calls}
    assert "Gate" not in names or file in GATE_MAKERS


ABOUT_ANSATZE = {"circuits/__init__.py", "circuits/extension.py"}
"""The front door, and how each ansatz grows."""


@pytest.mark.parametrize("file", sorted(set(files("circuits")) - ABOUT_ANSATZE))
def test_nothing_beneath_the_front_door_knows_an_ansatz(file):
    assert "circuits.ansatz" not in imported(ast.walk(tree(file)))


def test_the_rules_see_what_they_are_about():
    """The files named above exist, and do import what they are about."""
    for package, homes in OPTIONAL.items():
        for home in homes:
            assert package in packages(imported(ast.walk(tree(home))))
    for file, needed in ON_DEMAND.items():
        assert needed <= packages(imported(at_import_time(tree(file))))
    for file in GATE_MAKERS:
        assert (ROOT / file).is_file()
    code = """
if x:
    import a.b
class C:
    from c import d
if TYPE_CHECKING:
    import e
def f():
    import g
    third_party("h.i", "j")
"""
    assert imported(at_import_time(ast.parse(code))) == {"a.b", "c"}
    assert imported(ast.walk(ast.parse(code))) == {"a.b", "c", "e", "g", "h.i"}


def test_importing_loads_no_optional_package():
    code = f"""
import sys
import numpy, torch
before = set(sys.modules)
import {", ".join(SHIPPED)}
print(*{{name.partition(".")[0] for name in set(sys.modules) - before}} & {set(OPTIONAL)!r})
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
