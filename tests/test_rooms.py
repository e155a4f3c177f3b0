"""The rooms of the package: who may import whom, imports inside functions included."""

import ast
from pathlib import Path

import alignreg_jax

PACKAGE = Path(alignreg_jax.__file__).parent

ORDER = (
    "errors",
    "support",
    "data",
    "models",
    "pruning",
    "config",
    "training",
    "evaluation",
    "reporting",
    "run",
    "sweeping",
    "compress",
    "",  # what is started: main, sweep, shrink, trim, deploy, cli
)
"""A module imports from its own room and from those before it, so there are no cycles of rooms."""


def modules():
    """Every module by its dotted name, without the package's."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix("__init__").rstrip("."), ast.parse(path.read_text("utf-8"))


MODULES = dict(modules())


def room(module):
    first = module.split(".")[0]
    return first if (PACKAGE / first).is_dir() or first in ORDER else ""


def imported(tree):
    """Modules of this package that a module names in an import anywhere in its text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "alignreg_jax":
                inner = name.partition(".")[2]
                yield inner if inner in MODULES else inner.rpartition(".")[0]


def test_rooms_import_only_from_rooms_before_them():
    wrong = [
        f"{module} imports {other}"
        for module, tree in MODULES.items()
        for other in imported(tree)
        if other and ORDER.index(room(other)) > ORDER.index(room(module))
    ]
    assert wrong == []


def test_the_graph_is_seen():
    """The rule above finds what it is for, in a function as well."""
    late = ast.parse("def f():\n    from alignreg_jax.run import experiment\n")
    assert list(imported(late)) == ["run.experiment"]
    assert room("run.experiment") == "run"
    assert room("main") == ""
    assert {"data.tasks", "pruning.methods"} <= set(imported(MODULES["config.checks"]))


def test_every_room_is_known_and_few_modules_have_none():
    assert {room(module) for module in MODULES} - set(ORDER) == {"demo"}  # data and no code
    loose = [path.stem for path in PACKAGE.glob("*.py")]
    assert set(loose) == {
        "__init__", "api", "cli", "deploy", "errors", "main", "probe", "push", "shrink", "sweep",
        "trim",
    }  # fmt: skip
