"""Whether there is a keep, whether it opens, and whether what it says of itself agrees."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from modelkeep.errors import AccessError
from modelkeep.keep import Keep
from modelkeep.runtime.doctor import CHECKS, Check, Finding, Status, Subject, examine
from modelkeep.settings import keep_directory
from tests.filesystems import as_user, public_directory
from tests.fs.test_answering import dead_mount
from tests.runtime.doctor.conftest import found, is_ok, mended, subject

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")

SHARED = {"keep.group", "keep.acl", "keep.umask", "keep.trees"}
# The environment of a test has its own HF_HOME, and looks in no keep.
OWN = {"loaders.cache", "loaders.token", "keep.budget"}


def test_a_fresh_private_keep_is_well(keep: Keep) -> None:
    answers = {each.check.id: each.finding for each in examine(subject(keep))}
    assert {
        name: finding
        for name, finding in answers.items()
        if finding.status is not Status.OK and name not in SHARED | OWN
    } == {}
    assert {answers[name].status for name in SHARED} == {Status.SKIP}


def test_a_fresh_group_keep_is_well(group_keep: Keep) -> None:
    answers = {each.check.id: each.finding for each in examine(subject(group_keep))}
    assert {
        name: finding
        for name, finding in answers.items()
        if finding.status is not Status.OK and name not in {"keep.owner"} | OWN
    } == {}
    assert answers["keep.owner"].status is Status.SKIP


def test_a_keep_that_somebody_named_must_be_there(tmp_path: Path) -> None:
    missing = found(tmp_path / "none", "keep.present")
    assert missing.status is Status.FAIL
    assert f"modelkeep init {tmp_path}/none" in str(missing.fix)
    assert not (tmp_path / "none").exists()


def test_without_a_keep_in_the_default_place_nothing_has_failed() -> None:
    answers = examine(Subject(keep_directory(None, {})))
    assert answers[0].finding.status is Status.WARN
    statuses = {each.check.id: each.finding.status for each in answers[1:]}
    assert Status.FAIL not in statuses.values()
    assert {s for name, s in statuses.items() if name.startswith("keep.")} == {Status.SKIP}


def test_a_link_to_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "keep").symlink_to(tmp_path / "unmounted")
    finding = found(tmp_path / "keep", "keep.present")
    assert finding.status is Status.FAIL
    assert f"{tmp_path}/unmounted" in finding.evidence


def test_a_header_that_is_missing_damaged_or_foreign_fails_once(keep: Keep) -> None:
    header = keep.store.layout.header
    fields = json.loads(header.read_bytes())
    for text, words in (
        ("{", "damaged"),
        (json.dumps(fields | {"format": 99}), "format 99"),
        (None, "missing"),
    ):
        header.unlink()
        if text is not None:
            header.write_text(text)
        answers = examine(subject(keep))
        failed = [each for each in answers if each.finding.status is Status.FAIL]
        assert [each.check.id for each in failed] == ["keep.header"]
        assert words in failed[0].finding.evidence
        assert failed[0].finding.fix


@pytest.mark.parametrize(
    "text", ["mode = ", "colour = 'red'\n", "mode = 'communal'\n", "budget = 'much'\n"]
)
def test_a_keep_toml_that_cannot_be_used_is_shown(keep: Keep, text: str) -> None:
    (keep.directory / "keep.toml").write_text(text)
    finding = found(keep, "keep.settings")
    assert finding.status is Status.FAIL
    assert "keep.toml" in finding.evidence
    assert found(keep, "keep.budget").status is Status.SKIP


def test_a_missing_keep_toml_means_defaults(keep: Keep) -> None:
    (keep.directory / "keep.toml").unlink()
    assert "defaults" in found(keep, "keep.settings").evidence
    assert is_ok(keep, "keep.agreement")


def test_keep_toml_and_store_must_name_the_same_mode(keep: Keep) -> None:
    (keep.directory / "keep.toml").write_text('mode = "group"\n')
    finding = found(keep, "keep.agreement")
    assert finding.status is Status.FAIL
    assert "`group`" in finding.evidence
    assert "`private`" in finding.evidence


def test_the_group_of_keep_toml_must_own_the_keep(group_keep: Keep) -> None:
    settings = group_keep.directory / "keep.toml"
    settings.write_text('mode = "group"\ngroup = "daemon"\n')
    finding = found(group_keep, "keep.group")
    assert finding.status is Status.FAIL
    assert "chgrp -R daemon" in str(finding.fix)


@needs_root
def test_in_a_container_the_group_may_have_no_name(group_keep: Keep) -> None:
    settings = group_keep.directory / "keep.toml"
    settings.write_text('mode = "group"\ngroup = "nobody-has-this"\n')
    os.chown(group_keep.directory, -1, 4242)
    group_keep.directory.chmod(0o2770)
    finding = found(group_keep, "keep.group")
    assert finding.status is Status.WARN
    assert "groupadd --gid 4242" in str(finding.fix)
    assert as_user(4243, lambda: found(group_keep, "keep.group"), gid=4242).status is Status.OK


def test_a_keep_toml_that_locks_the_group_out_is_opened(group_keep: Keep) -> None:
    settings = group_keep.directory / "keep.toml"
    settings.chmod(0o600)
    finding = found(group_keep, "keep.settings")
    assert finding.status is Status.FAIL
    assert str(finding.fix).endswith(f"root: chmod a+r {settings}")
    assert "root, or root" not in str(finding.fix)
    mended(group_keep, "keep.settings")
    assert settings.stat().st_mode & 0o777 == 0o644
    assert is_ok(group_keep, "keep.settings")


def test_a_private_keep_toml_may_be_closed(keep: Keep) -> None:
    (keep.directory / "keep.toml").chmod(0o600)
    assert is_ok(keep, "keep.settings")


@needs_root
def test_who_may_not_read_keep_toml_learns_who_opens_it(group_keep: Keep) -> None:
    group_keep.directory.chmod(0o2755)
    (group_keep.directory / "keep.toml").chmod(0o600)
    examine(subject(group_keep))  # imports what the other user may not read

    def said() -> list[str]:
        try:
            Keep.open(group_keep.directory)
        except AccessError as error:
            return [str(error.hint), str(found(group_keep, "keep.settings").fix)]
        return []

    assert (
        as_user(4242, said)
        == [f"its owner, or root: chmod a+r {group_keep.directory}/keep.toml"] * 2
    )


@needs_root
def test_who_is_not_in_the_group_learns_how_to_join(group_keep: Keep) -> None:
    os.chown(group_keep.directory, -1, 4242)
    group_keep.directory.chmod(0o2770)
    examine(subject(group_keep))
    finding = as_user(4243, lambda: found(group_keep, "keep.present"))
    assert finding.status is Status.FAIL
    assert str(finding.fix).endswith("start the container with --group-add 4242")


def test_a_budget_is_compared_with_the_store_and_the_disk(keep: Keep, tmp_path: Path) -> None:
    settings = keep.directory / "keep.toml"
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.bin").write_bytes(b"w" * 100_000)
    keep.add(folder, "me/mine")
    settings.write_text('budget = "50 kB"\n')
    over = found(keep, "keep.budget")
    assert over.status is Status.WARN
    assert "gc --keep-under 50000" in str(over.fix)
    settings.write_text('budget = "100 MB"\n')
    assert is_ok(keep, "keep.budget")
    # What processes left counts, too: gc and pull say so of a keep that is over its budget.
    (keep.store.layout.trash / "left").write_bytes(b"w" * 2_000_000)
    settings.write_text('budget = "1.26 MB"\n')
    assert "gc --keep-under 1MB" in str(found(keep, "keep.budget").fix)
    settings.write_text('budget = "1000 PB"\n')
    assert "free on the disk" in found(keep, "keep.budget").evidence


Make = Callable[[Path], object]


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("a file", lambda store: store.write_text("x")),
        ("an empty folder", lambda store: store.mkdir()),
        ("a header that is a folder", lambda store: (store / "STORE.json").mkdir(parents=True)),
    ],
)
def test_a_store_that_is_none_breaks_no_check(tmp_path: Path, name: str, make: Make) -> None:
    (tmp_path / "keep").mkdir()
    make(tmp_path / "keep/store")
    answers = examine(subject(tmp_path / "keep"))
    assert any(each.finding.status is Status.FAIL for each in answers)
    assert not any("Error:" in each.finding.evidence for each in answers)


@needs_root
def test_a_keep_that_is_closed_to_the_caller_fails_once(tmp_path: Path) -> None:
    with public_directory() as public:
        keep = Keep.create(public / "keep")
        keep.directory.chmod(0o700)
        examine(subject(keep))  # imports what the other user may not read
        answers = as_user(
            4242,
            lambda: [(each.check.id, each.finding) for each in examine(subject(keep))],
        )
    failed = {name: finding for name, finding in answers if finding.status is Status.FAIL}
    assert list(failed) == ["keep.present"]
    assert "permission denied" in failed["keep.present"].evidence


@pytest.mark.real
def test_a_dead_mount_stops_nobody(tmp_path: Path) -> None:
    with dead_mount(tmp_path / "dead") as dead:
        answers = examine(subject(dead / "keep"))
    failed = {each.check.id: each.finding for each in answers if each.finding.status is Status.FAIL}
    assert list(failed) == ["keep.present"]
    assert "does not answer" in failed["keep.present"].evidence


class Broken(Check):
    """A check with a mistake in it."""

    id = "keep.broken"

    def look(self, subject: Subject) -> Finding:
        """Fail."""
        raise ValueError("no such thing")


def test_a_check_that_raises_is_a_finding_and_stops_no_other(keep: Keep) -> None:
    broken, present = examine(subject(keep), [Broken(), CHECKS[0]])
    assert broken.finding == Finding(Status.FAIL, "could not be checked: ValueError: no such thing")
    assert present.finding.status is Status.OK


def test_the_reference_explains_every_check_and_no_other() -> None:
    text = Path(__file__).parents[3].joinpath("docs/reference/checks.md").read_text()
    headings = [line.removeprefix("### ") for line in text.splitlines() if line.startswith("### ")]
    assert headings == [f"{check.id}" for check in CHECKS]
    assert CHECKS[0].docs == "docs/reference/checks.md#keeppresent"
