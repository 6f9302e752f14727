"""Who is let into a group keep, who is not, and what each is told."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from tests.clients import python_of
from tests.filesystems import as_user, bind, public_directory, ramfs
from tests.models import TINY, random_bytes
from tests.real.people import GROUP, Person, Team, team
from tests.real.site import NEWEST

from modelkeep.errors import AccessError, UsageError
from modelkeep.keep import Keep

pytestmark = pytest.mark.real

FETCH = "from huggingface_hub import snapshot_download; snapshot_download('org/closed')"


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    """A keep on a file system with ACLs, with a repo of two that are upstream."""
    with team() as made:
        fill(made)
        yield made


@pytest.fixture(scope="module")
def without_acls() -> Iterator[Team]:
    with public_directory() as base, ramfs(base) as mount, team(mount) as made:
        fill(made)
        yield made


def fill(people: Team) -> None:
    for name in ("open", "closed", "other", "half"):
        people.site.hub.repo(f"org/{name}").commit(
            {**TINY, "model.safetensors": random_bytes(1_100_000, len(name))}
        )
    people.ada.modelkeep(people.site, "pull", "org/open")


def careful(person: Person) -> Person:
    return dataclasses.replace(person, umask=0o077)


def test_an_acl_opens_what_a_careful_client_makes(people: Team) -> None:
    careful(people.cleo).python(people.site, FETCH)

    listed = people.bob.modelkeep(people.site, "ls")

    assert listed["closed"] == []
    assert {repo["repo"] for repo in listed["repos"]} == {"org/open", "org/closed"}
    people.bob.modelkeep(people.site, "pull", "org/closed")
    people.bob.modelkeep(people.site, "rm", "org/closed")


def test_where_there_are_no_acls_a_closed_repo_is_named_and_the_rest_goes_on(
    without_acls: Team,
) -> None:
    people = without_acls
    careful(people.cleo).python(people.site, FETCH)
    folder = people.site.cache / "models--org--closed"

    listed = people.bob.modelkeep(people.site, "ls")

    assert [repo["repo"] for repo in listed["repos"]] == ["org/open"]
    (closed,) = listed["closed"]
    assert closed == {
        "repo": "org/closed", "type": "model", "path": str(folder),
        "owner": f"uid {people.cleo.uid}", "fix": f"chmod -R g+rwX {folder}",
    }  # fmt: skip
    for verb in (["show"], ["pull"], ["rm"]):
        refused = people.bob.modelkeep(people.site, *verb, "org/closed", code=4)
        assert refused["error"]["kind"] == "permission"
    assert (
        closed["fix"]
        in people.bob.modelkeep(people.site, "show", "org/closed", code=4)["error"]["hint"]
    )
    # nothing else suffers
    env = {
        "_MODELKEEP_COMPLETE": "bash_complete",
        "COMP_WORDS": "modelkeep rm org",
        "COMP_CWORD": "2",
    }
    assert people.bob.run(people.site, "-m", "modelkeep", env=env).stdout.split() == [
        "plain,org/open"
    ]
    people.bob.modelkeep(people.site, "pull", "org/other")
    people.bob.modelkeep(people.site, "settle")
    people.bob.modelkeep(people.site, "gc")
    people.bob.modelkeep(people.site, "gc", "--match", "other")
    people.bob.modelkeep(people.site, "verify", "org/open")
    people.bob.modelkeep(people.site, "verify", code=1)
    people.bob.modelkeep(people.site)

    as_user(people.cleo.uid, lambda: subprocess.run(closed["fix"].split(), check=True), gid=GROUP)

    assert people.bob.modelkeep(people.site, "ls")["closed"] == []
    people.bob.modelkeep(people.site, "settle")
    people.bob.modelkeep(people.site, "rm", "org/closed")


def test_who_cannot_write_beside_a_client_learns_who_opens_it(without_acls: Team) -> None:
    people = without_acls
    people.cleo.python(people.site, FETCH.replace("org/closed", "org/half"))
    folder = people.site.cache / "models--org--half"

    hint = people.bob.modelkeep(people.site, "pull", "org/half", code=4)["error"]["hint"]

    said, _, fix = hint.partition(" to its group: ")
    assert f"uid {people.cleo.uid}, or root, opens it" in said
    assert fix.startswith(f"chmod -R g+rwX {folder}")
    as_user(
        people.cleo.uid,
        lambda: subprocess.run(["chmod", "-R", "g+rwX", folder], check=True),
        gid=GROUP,
    )
    people.bob.modelkeep(people.site, "pull", "org/half")


def test_a_stranger_to_the_group_is_told_how_to_join(people: Team) -> None:
    home = people.ada.home.with_name("home-4999")
    stranger = dataclasses.replace(people.ada, uid=4999, gid=4999, home=home, groups=())
    for verb in (["ls"], ["pull", "org/open"], ["rm", "org/open"]):
        error = stranger.modelkeep(people.site, *verb, code=4)["error"]
        assert error["kind"] == "permission"
        assert error["hint"] == (
            f"the keep is for the group `{GROUP}`: start the container with --group-add {GROUP}"
        )

    inside = dataclasses.replace(people.contained, gid=4242)
    assert "--group-add" in inside.modelkeep(people.site, "ls", code=4)["error"]["hint"]


@pytest.mark.parametrize(
    ("group", "error", "says"),
    [
        ("0", AccessError, "not in the group `root`"),
        ("no-such-group", UsageError, "there is no group `no-such-group`"),
    ],
)
def test_a_keep_is_not_given_to_a_group_one_is_not_in(
    people: Team, group: str, error: type[Exception], says: str
) -> None:
    place = people.bob.home.parent / "another"

    with pytest.raises(error, match=says):
        as_user(people.bob.uid, lambda: Keep.create(place, mode="group", group=group), gid=GROUP)

    assert not place.exists()


def test_a_private_keep_stays_private_wherever_it_lies(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    before = os.umask(0o027)
    try:
        keep = Keep.create(shared / "keep")
        keep.store.roots.register(tmp_path)
    finally:
        os.umask(before)

    for path in [keep.directory, *keep.directory.rglob("*")]:
        assert not path.lstat().st_mode & 0o022, path


@contextmanager
def mounted_read_only(people: Team) -> Iterator[Team]:
    """The same keep at another place, where nobody can write."""
    with public_directory() as base, bind(base, people.site.keep.directory) as mount:
        subprocess.run(["mount", "-o", "remount,bind,ro", mount], check=True)
        site = dataclasses.replace(people.site, keep=Keep.open(mount))
        yield dataclasses.replace(people, site=site)


@contextmanager
def opened_to_readers(people: Team) -> Iterator[Team]:
    """The same keep, which its owner lets others read; Bob is not in the group."""
    people.site.keep.directory.chmod(0o2775)
    try:
        yield dataclasses.replace(people, bob=dataclasses.replace(people.bob, groups=()))
    finally:
        people.site.keep.directory.chmod(0o2770)


@pytest.mark.parametrize("place", [mounted_read_only, opened_to_readers])
def test_who_cannot_write_reads_all_the_same(
    people: Team, place: Callable[[Team], AbstractContextManager[Team]]
) -> None:
    with place(people) as seen:
        bob, site = seen.bob, seen.site
        assert bob.modelkeep(site, "ls")["repos"][0]["repo"] == "org/open"
        bob.modelkeep(site, "show", "org/open")
        assert len(bob.modelkeep(site, "where", "org/open")["files"]) == 3
        assert bob.modelkeep(site, "verify")["files"] >= 3
        bob.modelkeep(site, "leases")
        bob.modelkeep(site, "env")
        bob.modelkeep(site)
        joining = place is opened_to_readers
        for number, option in enumerate(("--to", "--into")):
            target = bob.home / f"linked{number}-{joining}"
            assert bob.modelkeep(site, "link", "org/open", option, target)["files"] == 3
        load = "from huggingface_hub import snapshot_download; snapshot_download('org/open')"
        for offline in (True, False):
            bob.python(site, load, offline=offline)
        words = ("exec", "--", python_of(NEWEST), "-c", load)
        assert bob.run(site, "-m", "modelkeep", *words).returncode == 0
        for verb in (
            ["pull", "org/other"],
            ["add", bob.home, "--as", "me/mine", "--type", "dataset"],
            ["rm", "org/open"],
            ["gc"],
            ["settle"],
            ["adopt", bob.home / f"linked1-{joining}"],
            ["pin", "org/open"],
            ["verify", "--repair"],
        ):
            error = bob.modelkeep(site, *verb, code=4)["error"]
            assert error["kind"] == "read_only", verb
            assert "cannot be written by you" in error["message"]
            assert ("--group-add" in error["hint"]) == joining
