"""What one member of a group holds, the others see, respect, and can end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from tests.clients import python_of
from tests.models import TINY
from tests.real.people import Person, Team, team
from tests.real.site import NEWEST

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    with team() as made:
        made.site.hub.repo("org/tiny").commit(TINY)
        made.ada.modelkeep(made.site, "pull", "org/tiny")
        yield made


def start(people: Team, person: Person) -> subprocess.Popen[str]:
    """A command of a person's that goes on running."""
    env = person._env(people.site)
    command = (
        "exec",
        "--offline",
        "--model",
        "org/tiny",
        "sh",
        "-c",
        "echo started; exec sleep 60",
    )
    process = subprocess.Popen(
        [*person._within(env), str(python_of(NEWEST)), "-m", "modelkeep", *command],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def test_what_each_runs_stops_the_removals_of_the_others(people: Team) -> None:
    site = people.site
    process = start(people, people.bob)
    for person in people.all:
        refused = person.modelkeep(site, "rm", "org/tiny", code=3)["error"]
        assert f"process {process.pid}" in refused["message"]
        (lease,) = person.modelkeep(site, "leases", "org/tiny")["leases"]
        seen = None if person is people.contained else True
        assert (lease["user"], lease["owner"]["running"]) == ("uid 4302", seen)
    process.kill()
    process.communicate()
    (lease,) = people.cleo.modelkeep(site, "leases")["leases"]
    assert not lease["holds"]
    people.cleo.modelkeep(site, "gc")
    assert people.cleo.modelkeep(site, "leases")["leases"] == []


def test_what_ran_in_a_container_holds_until_somebody_ends_it(people: Team) -> None:
    site, cleo = people.site, people.cleo
    done = people.contained.run(
        site, "-m", "modelkeep", "exec", "--offline", "--model", "org/tiny", "true"
    )
    assert done.returncode == 0, done.stderr
    (lease,) = cleo.modelkeep(site, "leases")["leases"]
    assert (lease["holds"], lease["owner"]["running"]) == (True, None)
    cleo.modelkeep(site, "rm", "org/tiny", code=3)

    assert cleo.modelkeep(site, "leases", "--drop", lease["id"][:8])["dropped"] == [lease["id"]]

    cleo.modelkeep(site, "rm", "org/tiny", "--dry-run")


def test_each_pins_for_himself_and_any_ends_all(people: Team) -> None:
    site = people.site
    for number, person in enumerate(people.all, 1):
        person.modelkeep(site, "pin", "org/tiny", "--reason", f"{person.uid}")
        assert len(person.modelkeep(site, "leases")["leases"]) == number
    for person in people.all:
        person.modelkeep(site, "rm", "org/tiny", code=3)

    assert len(people.contained.modelkeep(site, "unpin", "org/tiny")["unpinned"]) == 4


def test_a_broken_lease_of_one_is_dropped_by_another(people: Team) -> None:
    site, broken = people.site, people.site.keep.store.layout.leases / "broken.json"
    ada = people.ada.run(
        site, "-c", f"import os; os.umask(0o077); open({str(broken)!r}, 'w').write('{{')"
    )
    assert ada.returncode == 0, ada.stderr
    people.bob.modelkeep(site, "rm", "org/tiny", code=3)
    assert people.bob.modelkeep(site, "leases")["unreadable"] == [
        {"id": "broken", "path": str(broken)}
    ]

    people.bob.modelkeep(site, "leases", "--drop", "broken")

    people.bob.modelkeep(site, "rm", "org/tiny")
    assert people.cleo.modelkeep(site, "ls")["repos"] == []
