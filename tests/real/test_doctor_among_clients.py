"""A group keep that stock clients of several people have worked in is well, says the doctor."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.clients import CLIENTS
from tests.models import TINY, random_bytes
from tests.real.people import Person, Team, team

pytestmark = pytest.mark.real

FETCH = """
from huggingface_hub import snapshot_download
result = snapshot_download(REPO)
"""
# What is so by the nature of what was done, and no fault.
MEANT = {"keep.unsettled", "keep.trees"}


@pytest.fixture(scope="module")
def people() -> Iterator[Team]:
    with team() as made:
        yield made


def complaints(person: Person, people: Team) -> dict[str, str]:
    checks = person.modelkeep(people.site, "doctor")["checks"]
    return {check["id"]: check["evidence"] for check in checks if check["status"] == "warn"}


def test_what_clients_of_many_people_leave_is_nothing_to_complain_of(people: Team) -> None:
    persons = [people.ada, people.bob, people.contained]
    assert [complaints(person, people) for person in persons] == [{}] * 3
    for number, (person, client) in enumerate(zip(persons, CLIENTS, strict=True)):
        repo = people.site.hub.repo(f"org/model{number}")
        repo.commit({**TINY, "model.safetensors": random_bytes(2_000_000, number)})
        person.python(people.site, f"REPO = {repo.id!r}\n{FETCH}", client)
    for person in persons:
        assert complaints(person, people).keys() == MEANT

    people.cleo.modelkeep(people.site, "settle")
    for person in persons:
        person.modelkeep(people.site, "doctor", "keep", "--fix")
    assert [complaints(person, people) for person in persons] == [{}] * 3
