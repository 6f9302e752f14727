"""Each fault of the stand-in Hub does what it says."""

from __future__ import annotations

import http.client
import time

import pytest

from tests.hub import (
    Delay,
    ExpiredLink,
    Fault,
    FlipBit,
    Headers,
    Hub,
    RedirectLoop,
    Repository,
    Reset,
    Slow,
    Stall,
    Status,
    Truncate,
    WrongEtag,
)
from tests.models import TINY
from tests.wire import fetch

WEIGHTS = TINY["model.safetensors"]


@pytest.fixture
def link(hub: Hub, tiny_repo: Repository) -> str:
    """A signed link to the weights."""
    answer = fetch(f"{hub.endpoint}/org/tiny/resolve/main/model.safetensors")
    hub.clear_log()
    return answer.headers["Location"]


def test_a_status_with_retry_after_comes_so_many_times(hub: Hub, tiny_repo: Repository) -> None:
    planned = hub.fault("*/config.json", Status(429, retry_after=1), times=2)
    url = f"{hub.endpoint}/org/tiny/resolve/main/config.json"
    answers = [fetch(url) for _ in range(3)]
    assert [answer.status for answer in answers] == [429, 429, 200]
    assert answers[0].headers["Retry-After"] == "1"
    assert planned.hits == 2


def test_a_fault_for_ever_lasts_until_cleared(hub: Hub, tiny_repo: Repository) -> None:
    hub.fault("/api/*", Status(503), times=None)
    url = f"{hub.endpoint}/api/models/org/tiny"
    assert {fetch(url).status for _ in range(4)} == {503}
    hub.clear_faults()
    assert fetch(url).status == 200


def test_truncated_bodies_end_early(hub: Hub, link: str) -> None:
    hub.fault("*.safetensors", Truncate(at=1000), origin="cdn")
    with pytest.raises(http.client.IncompleteRead) as caught:
        fetch(link)
    assert caught.value.partial == WEIGHTS[:1000]
    assert hub.requests[-1].bytes_sent == 1000
    assert fetch(link).body == WEIGHTS


@pytest.mark.parametrize("fault", [Reset(), Reset(at=0), Reset(at=70_000)])
def test_resets_reach_the_client(hub: Hub, link: str, fault: Fault) -> None:
    hub.fault("*.safetensors", fault, origin="cdn")
    with pytest.raises(ConnectionResetError):
        fetch(link)
    assert fetch(link).body == WEIGHTS


def test_a_stall_is_silence_and_then_goes_on(hub: Hub, link: str) -> None:
    hub.fault("*.safetensors", Stall(at=5, seconds=0.4))
    started = time.monotonic()
    assert fetch(link).body == WEIGHTS
    assert time.monotonic() - started >= 0.4
    hub.fault("*.safetensors", Stall(at=5))
    with pytest.raises(TimeoutError):
        fetch(link, timeout=0.3)


def test_slow_and_late_answers(hub: Hub, link: str) -> None:
    hub.fault("*.safetensors", Slow(rate=1_000_000))
    hub.fault("*.safetensors", Delay(0.2))
    started = time.monotonic()
    assert fetch(link).body == WEIGHTS
    assert 0.45 < time.monotonic() - started < 2


def test_one_bit_flips_and_only_in_the_range_that_holds_it(hub: Hub, link: str) -> None:
    hub.fault("*.safetensors", FlipBit(bit=8 * 1000 + 3))
    before = fetch(link, headers={"Range": "bytes=0-999"}).body
    with_it = fetch(link, headers={"Range": "bytes=990-1009"}).body
    assert before == WEIGHTS[:1000]
    expected = bytearray(WEIGHTS[990:1010])
    expected[10] ^= 1 << 3
    assert with_it == bytes(expected)
    assert fetch(link).body == WEIGHTS


def test_some_bit_flips(hub: Hub, link: str) -> None:
    hub.fault("*.safetensors", FlipBit(seed=1))
    body = fetch(link).body
    difference = int.from_bytes(body, "big") ^ int.from_bytes(WEIGHTS, "big")
    assert difference.bit_count() == 1


def test_wrong_and_missing_headers(hub: Hub, tiny_repo: Repository) -> None:
    url = f"{hub.endpoint}/org/tiny/resolve/main/model.safetensors"
    hub.fault("*.safetensors", WrongEtag("ab" * 32))
    assert fetch(url, "HEAD").headers["X-Linked-Etag"] == f'"{"ab" * 32}"'
    hub.fault("*.safetensors", Headers(drop=("X-Repo-Commit",), set={"X-Linked-Size": "7"}))
    answer = fetch(url, "HEAD")
    assert (answer.headers["X-Repo-Commit"], answer.headers["X-Linked-Size"]) == (None, "7")


def test_links_age_and_cannot_be_forged(hub: Hub, tiny_repo: Repository, link: str) -> None:
    hub.fault("*", ExpiredLink())
    assert [fetch(link).status for _ in range(2)] == [403, 200]
    assert fetch(link.replace("Expires=1", "Expires=2")).status == 403
    hub.link_lifetime = 0.2
    url = f"{hub.endpoint}/org/tiny/resolve/main/model.safetensors"
    short = fetch(url).headers["Location"]
    assert fetch(short).status == 200
    time.sleep(0.3)
    assert fetch(short).status == 403


def test_a_redirect_can_lead_back_to_itself(hub: Hub, tiny_repo: Repository) -> None:
    hub.fault("*/config.json", RedirectLoop(), times=None)
    answer = fetch(f"{hub.endpoint}/org/tiny/resolve/main/config.json")
    assert (answer.status, answer.headers["Location"]) == (
        302,
        "/org/tiny/resolve/main/config.json",
    )
