"""What `import modelkeep` gives, and nothing besides."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import ModuleType

import pytest

import modelkeep
from tests.hub import Repository


def test_the_list_of_names_is_sorted_and_without_repeats() -> None:
    assert list(modelkeep.__all__) == sorted(set(modelkeep.__all__))


@pytest.mark.parametrize("name", getattr(modelkeep, "__all__", []))
def test_a_name_exists_and_says_what_it_is(name: str) -> None:
    value = getattr(modelkeep, name)
    if inspect.isclass(value) or inspect.isroutine(value):
        assert inspect.getdoc(value)


@pytest.mark.parametrize("name", getattr(modelkeep, "__all__", []))
def test_a_class_says_what_each_of_its_methods_does(name: str) -> None:
    value = getattr(modelkeep, name)
    if not inspect.isclass(value):
        return
    silent = [
        member
        for member, function in vars(value).items()
        if not member.startswith("_") and callable(function) and not inspect.getdoc(function)
    ]
    assert silent == []


def test_nothing_public_is_left_out_of_the_list() -> None:
    listed = set(modelkeep.__all__)
    public = {
        name
        for name, value in vars(modelkeep).items()
        if not name.startswith("_")
        and not isinstance(value, ModuleType)
        and name not in {"annotations", "TYPE_CHECKING"}
    }
    assert public <= listed


def test_listed_names_are_offered_for_completion() -> None:
    assert set(modelkeep.__all__) <= set(dir(modelkeep))


def test_requests_that_make_no_sense_are_said_so(tmp_path: Path) -> None:
    keep = modelkeep.open(tmp_path / "keep")
    assert repr(keep) == f"Keep('{tmp_path}/keep')"
    with pytest.raises(modelkeep.UsageError) as raised:
        keep.pull("org/name", type="zzz")
    assert raised.value.hint == "one of: model, dataset, space, kernel"
    with pytest.raises(modelkeep.UsageError):
        keep.pull(None)  # type: ignore[arg-type]
    with pytest.raises(modelkeep.UsageError):
        modelkeep.open("")


def test_a_string_is_one_pattern(tmp_path: Path, tiny_repo: Repository) -> None:
    keep = modelkeep.open(tmp_path / "keep")
    assert keep.pull("org/tiny", include="config.json").files == 1
    assert len(keep.list("org/*").repos) == 1
