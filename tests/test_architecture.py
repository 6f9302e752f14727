"""The shape of the code: who may import whom, who may print, how long a module may get."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

import pytest

PACKAGE = "modelkeep"
SOURCE = Path(__file__).resolve().parent.parent / "src" / PACKAGE
LONGEST = 400
VAGUE = {"utils", "util", "helpers", "common", "base", "manager", "misc"}

LEAVES = {"errors", "sizes", "times", "_version"}
SETTINGS = LEAVES | {"settings"}
FS = SETTINGS | {"fs"}
STORE = FS | {"store"}
HUB = STORE | {"hub"}
KEEP = HUB | {"gateway", "engines", "runtime"}
# What each part may import besides itself. "__init__" is the public API.
MAY_IMPORT = {
    **{leaf: set[str]() for leaf in LEAVES},
    "settings": LEAVES,
    "fs": SETTINGS,
    "store": FS,
    "hub": STORE,
    "gateway": HUB,
    "engines": HUB,
    "runtime": HUB,
    "keep": KEEP,
    "__init__": KEEP | {"keep"},
    "cli": KEEP | {"keep", "__init__"},
    "__main__": {"cli"},
}

PRINTING = {"print", "echo", "secho", "sys.stdout.write", "sys.stderr.write"}
ENDING = {"exit", "quit", "sys.exit", "SystemExit"}
CONFIGURING = {"logging.basicConfig", "logging.config.dictConfig", "logging.config.fileConfig"}


@dataclass
class Module:
    """A parsed module; `path` is relative to the package."""

    path: PurePosixPath
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def part(self) -> str:
        """The layer it belongs to: a package of the first level, or a single module there."""
        return self.path.parts[0].removesuffix(".py")

    @property
    def package(self) -> list[str]:
        """The package that its relative imports start from."""
        return [PACKAGE, *self.path.parts[:-1]]


@dataclass(frozen=True)
class Import:
    """One imported name, as an absolute dotted path."""

    name: str
    line: int
    at_start: bool  # carried out when the module is imported


def modules() -> list[Module]:
    return [
        Module(PurePosixPath(path.relative_to(SOURCE)), path.read_text(encoding="utf-8"))
        for path in sorted(SOURCE.rglob("*.py"))
    ]


def imports(module: Module) -> Iterator[Import]:
    """Every import, wherever it stands, by statement or by `import_module` of a constant."""
    lazy = {
        id(inner)
        for outer in ast.walk(module.tree)
        if isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        or (isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test))
        for inner in ast.walk(outer)
    }
    for node in ast.walk(module.tree):
        at_start = id(node) not in lazy
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, node.lineno, at_start)
        elif isinstance(node, ast.ImportFrom):
            start = module.package[: len(module.package) - node.level + 1] if node.level else []
            prefix = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(f"{prefix}.{alias.name}", node.lineno, at_start)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    yield Import(argument.value, node.lineno, at_start)


def called(module: Module) -> Iterator[tuple[str, int]]:
    """The dotted name and the line of every call."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node.lineno


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def target_part(name: str, parts: set[str]) -> str | None:
    """The layer that an absolute import reaches; None for what is not ours."""
    if not within(name, PACKAGE):
        return None
    first = name.split(".")[1:2]
    return first[0] if first and first[0] in parts else "__init__"


def wrong_arrows(module: Module, parts: set[str]) -> Iterator[str]:
    if module.part not in MAY_IMPORT:
        yield f"{module.path}: `{module.part}` has no place in the layers"
        return
    allowed = MAY_IMPORT[module.part] | {module.part}
    for imported in imports(module):
        part = target_part(imported.name, parts)
        if part is not None and part not in allowed:
            yield f"{module.path}:{imported.line} imports {imported.name}, which lies above it"


def foreign_duties(module: Module) -> Iterator[str]:
    """What only one part may do: look at errno, print, end the process, configure logging."""
    for imported in imports(module):
        if within(imported.name, "errno") and module.part not in {"fs", "errors"}:
            yield f"{module.path}:{imported.line} looks at errno, which is for fs/"
        for library in ("rich", "click"):
            if within(imported.name, library) and module.part != "cli":
                yield f"{module.path}:{imported.line} imports {library}, which is for cli/"
    if module.path == PurePosixPath("cli/output.py"):
        return
    for name, line in called(module):
        if name in PRINTING or name.endswith((".print", ".echo", ".secho")):
            yield f"{module.path}:{line} prints, which is for cli/output.py"
        if module.part not in {"cli", "__main__"} and name in ENDING | CONFIGURING:
            yield f"{module.path}:{line} calls {name}, which is for cli/"


def slow_starts(module: Module) -> Iterator[str]:
    may_be_slow = {PurePosixPath("hub/upstream.py"), PurePosixPath("hub/xet.py")}
    for imported in imports(module):
        if (
            imported.at_start
            and within(imported.name, "huggingface_hub")
            and module.path not in may_be_slow
        ):
            yield f"{module.path}:{imported.line} imports huggingface_hub before it is used"


def bad_shapes(module: Module) -> Iterator[str]:
    lines = module.source.count("\n")
    if lines > LONGEST:
        yield f"{module.path} has {lines} lines, more than {LONGEST}"
    for name in {part.removesuffix(".py") for part in module.path.parts} & VAGUE:
        yield f"{module.path}: `{name}` is not the name of a concept"
    for imported in imports(module):
        if imported.name.endswith(".*"):
            yield f"{module.path}:{imported.line} imports everything"


def test_imports_run_one_way() -> None:
    found = modules()
    parts = {module.part for module in found}
    assert parts
    assert [fault for module in found for fault in wrong_arrows(module, parts)] == []


def test_every_duty_has_one_place() -> None:
    assert [fault for module in modules() for fault in foreign_duties(module)] == []


def test_the_hub_client_is_imported_only_when_it_is_used() -> None:
    assert [fault for module in modules() for fault in slow_starts(module)] == []


def test_modules_are_short_and_well_named() -> None:
    assert [fault for module in modules() for fault in bad_shapes(module)] == []


PARTS = set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("errors.py", "from modelkeep.settings import Settings"),
        ("fs/links.py", "from modelkeep.store import Store"),
        ("fs/links.py", "from ..store.digest import Digest"),
        ("fs/links.py", "from .. import store"),
        ("store/store.py", "def late():\n    import modelkeep.hub.repo"),
        ("store/store.py", "if TYPE_CHECKING:\n    from modelkeep.hub import Repo"),
        ("store/store.py", "import_module('modelkeep.hub')"),
        ("hub/pull.py", "from modelkeep.keep import Keep"),
        ("gateway/server.py", "from modelkeep.runtime import warm"),
        ("runtime/warm.py", "import modelkeep"),
        ("keep/looking.py", "from modelkeep.cli import main"),
        ("__init__.py", "from .cli import main"),
        ("novelty.py", ""),
    ],
)
def test_a_wrong_arrow_is_found(path: str, source: str) -> None:
    assert list(wrong_arrows(Module(PurePosixPath(path), source), PARTS)) != []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("errors.py", "import os"),
        ("fs/links.py", "from modelkeep.errors import NoSpaceError\nfrom . import durable"),
        ("fs/nested/deep.py", "from ..durable import publish"),
        ("store/store.py", "from modelkeep.fs import durable\nfrom .digest import Digest"),
        ("hub/pull.py", "from modelkeep import errors"),
        ("keep/looking.py", "from modelkeep.runtime.environment import variables"),
        ("__init__.py", "def open():\n    from modelkeep.keep import Keep"),
        ("cli/pull.py", "import modelkeep"),
        ("hub/pull.py", "import modelkeeper"),
    ],
)
def test_a_right_arrow_is_left_alone(path: str, source: str) -> None:
    assert list(wrong_arrows(Module(PurePosixPath(path), source), PARTS)) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("store/store.py", "import errno"),
        ("cli/pull.py", "from errno import ENOENT"),
        ("hub/pull.py", "from rich.progress import Progress"),
        ("keep/looking.py", "def ask():\n    import click"),
        ("keep/looking.py", "print('done')"),
        ("cli/pull.py", "print('done')"),
        ("cli/pull.py", "click.echo('done')"),
        ("cli/pull.py", "console.print('done')"),
        ("cli/pull.py", "sys.stdout.write('done')"),
        ("keep/looking.py", "sys.exit(1)"),
        ("keep/looking.py", "raise SystemExit(1)"),
        ("hub/pull.py", "logging.basicConfig()"),
    ],
)
def test_a_duty_in_the_wrong_place_is_found(path: str, source: str) -> None:
    assert list(foreign_duties(Module(PurePosixPath(path), source))) != []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("fs/links.py", "import errno"),
        ("cli/output.py", "from rich.console import Console\nprint('done')"),
        ("cli/pull.py", "import click\nsys.exit(1)"),
        ("hub/pull.py", "import logging\nlogging.getLogger(__name__).info('done')"),
    ],
)
def test_a_duty_in_its_place_is_left_alone(path: str, source: str) -> None:
    assert list(foreign_duties(Module(PurePosixPath(path), source))) == []


def test_an_early_import_of_the_hub_client_is_found() -> None:
    early = "try:\n    from huggingface_hub import constants\nexcept ImportError:\n    pass"
    late = "def f():\n    import huggingface_hub"
    typed = "if TYPE_CHECKING:\n    from huggingface_hub import HfApi"
    assert list(slow_starts(Module(PurePosixPath("hub/pull.py"), early))) != []
    assert list(slow_starts(Module(PurePosixPath("hub/upstream.py"), early))) == []
    assert list(slow_starts(Module(PurePosixPath("hub/pull.py"), late))) == []
    assert list(slow_starts(Module(PurePosixPath("hub/pull.py"), typed))) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("store/store.py", "pass\n" * (LONGEST + 1)),
        ("store/utils.py", ""),
        ("hub/common/tree.py", ""),
        ("store/store.py", "from os import *"),
    ],
)
def test_a_bad_shape_is_found(path: str, source: str) -> None:
    assert list(bad_shapes(Module(PurePosixPath(path), source))) != []
