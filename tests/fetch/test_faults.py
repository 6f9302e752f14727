"""What a fetch does when the network or the server misbehaves."""

from __future__ import annotations

import re
import time
from contextlib import ExitStack
from email.utils import formatdate

import pytest

from modelkeep.errors import AccessError, CorruptError, GatedError, NotFoundError, UpstreamError
from modelkeep.hub.fetch import Patience
from tests.fetch.support import HASTY, Place, Told, noise, publish, wanted
from tests.hub import (
    ExpiredLink,
    Fault,
    FlipBit,
    Headers,
    Hub,
    RedirectLoop,
    Reset,
    Stall,
    Status,
    Truncate,
    WrongEtag,
)
from tests.hub.faults import Course
from tests.hub.messages import Request, Response, Slice

MIB = 1 << 20
LARGE = noise(48 * MIB)
SMALL = noise(200_000, seed=1)


@pytest.mark.parametrize(
    "fault",
    [
        Status(500),
        Status(502),
        Status(503),
        Status(408),
        Status(429),
        Reset(),
        Reset(at=1000),
        Truncate(at=100_000),
        Stall(at=100_000, seconds=30),
    ],
    ids=str,
)
@pytest.mark.parametrize("origin", ["hub", "cdn"])
def test_a_failure_that_passes_is_survived(
    hub: Hub, place: Place, fault: Fault, origin: str
) -> None:
    for data in (SMALL, LARGE):
        hub.clear_faults()
        name = f"model-{len(data)}.safetensors"
        repo = publish(hub, {name: data}, f"org/{len(data)}")
        planned = hub.fault("*", fault, times=2, origin=origin)
        todo = [wanted(hub, repo, name, data)]
        report = place.fetch(todo)
        assert place.path(todo[0].digest).read_bytes() == data
        if planned.hits:
            assert report.retries >= 1


def test_only_what_is_missing_is_fetched_again_after_a_cut(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"model.safetensors": LARGE})
    hub.fault("*", Truncate(at=3 * MIB), times=3, origin="cdn")
    report = place.fetch([wanted(hub, repo, "model.safetensors", LARGE)])
    assert report.retries == 3
    assert report.bytes_fetched < len(LARGE) + 2 * MIB


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_server_that_asks_for_time_gets_it(hub: Hub, place: Place, form: str) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    if form == "seconds":
        hub.fault("*a.bin", Status(429, retry_after=1), origin="hub")
    else:
        moment = formatdate(time.time() + 2, usegmt=True)
        hub.fault("*a.bin", Status(429, headers={"Retry-After": moment}), origin="hub")
    place.fetch([wanted(hub, repo, "a.bin", SMALL)])
    first, second = (r.at for r in hub.matching("a.bin", origin="hub"))
    assert second - first >= 0.9
    assert any("429" in reason for reason, _ in place.told.waits)


def test_it_gives_up_when_nothing_comes_and_says_what_is_kept(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"model.safetensors": LARGE})
    todo = [wanted(hub, repo, "model.safetensors", LARGE)]
    hub.fault("*", _Fails(after=2), times=None, origin="cdn")
    with pytest.raises(UpstreamError) as caught:
        place.fetch(todo, max_streams=1)
    assert "500" in caught.value.message
    assert re.fullmatch("run the same command again: [0-9.]+ MB are kept", caught.value.hint or "")
    hub.clear_faults()
    report = place.fetch(todo)
    assert report.bytes_resumed > 4 * MIB
    assert report.bytes_fetched == len(LARGE) - report.bytes_resumed


def test_a_server_that_is_gone_is_named(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    hub.down()
    with pytest.raises(UpstreamError, match=r"no connection to http://127\.0\.0\.1"):
        place.fetch([wanted(hub, repo, "a.bin", SMALL)])


def test_a_server_that_comes_back_in_time_is_used(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    hub.fault("*", Reset(), times=HASTY.attempts, origin="hub")
    assert place.fetch([wanted(hub, repo, "a.bin", SMALL)]).files == 1


def test_a_hub_that_comes_back_with_another_cdn_is_used(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"model.safetensors": LARGE})
    todo = wanted(hub, repo, "model.safetensors", LARGE)
    with ExitStack() as stack:
        replacing = _Replacing(hub, stack)
        place.told = replacing
        patient = Patience(connect=2, stall=5, first_delay=0.1, max_delay=2)
        report = place.fetch([todo], patience=patient, max_streams=2, limit_rate=24 * MIB)

    assert place.path(todo.digest).read_bytes() == LARGE
    assert report.retries >= 1
    assert replacing.other is not None
    assert replacing.other.cdn != hub.cdn
    assert 0 < replacing.other.bytes_sent(origin="cdn") < len(LARGE)


def test_who_waits_is_told_the_server_and_no_signed_path(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    hub.fault("*", Status(500), times=2, origin="cdn")
    slow = Patience(connect=2, stall=1.0, attempts=4, first_delay=0.5, max_delay=1.0)
    place.fetch([wanted(hub, repo, "a.bin", SMALL)], patience=slow)
    assert {reason for reason, _ in place.told.waits} == {f"{hub.cdn} answers 500"}


def test_a_link_that_has_aged_is_signed_again(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"model.safetensors": LARGE})
    hub.fault("*", ExpiredLink(), times=3)
    report = place.fetch([wanted(hub, repo, "model.safetensors", LARGE)], max_streams=2)
    assert report.files == 1
    assert 2 <= len(hub.matching("model.safetensors", origin="hub")) <= 4


def test_a_flipped_bit_is_noticed_and_fetched_again(hub: Hub, place: Place) -> None:
    for data in (SMALL, LARGE):
        name = f"model-{len(data)}.safetensors"
        repo = publish(hub, {name: data}, f"org/{len(data)}")
        planned = hub.fault("*", FlipBit(bit=12345))
        todo = [wanted(hub, repo, name, data)]
        report = place.fetch(todo)
        assert planned.hits == 1
        assert report.retries == 1
        assert place.path(todo[0].digest).read_bytes() == data
        assert place.leftovers() == []
    assert place.told.arrived == len(SMALL) + len(LARGE)


def test_a_file_that_arrives_damaged_twice_is_refused(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    todo = wanted(hub, repo, "a.bin", SMALL)
    hub.fault("*", FlipBit(bit=7), times=None)
    with pytest.raises(CorruptError) as caught:
        place.fetch([todo])
    assert "a.bin" in caught.value.message
    assert caught.value.expected == str(todo.digest)
    assert caught.value.got.startswith("sha256:")
    assert caught.value.got != caught.value.expected
    assert not place.have(todo.digest)
    assert place.leftovers() == []


def test_a_thousand_flipped_bits_are_a_thousand_refusals(hub: Hub, place: Place) -> None:
    kinds = ("bin", "json", "json", "json")  # LFS files, which take two requests, and git's own
    files = {f"{n}.{kinds[n % 4]}": noise(2000, seed=n) for n in range(1000)}
    repo = publish(hub, files)
    todo = [wanted(hub, repo, name, data) for name, data in files.items()]
    for number, item in enumerate(todo):
        hub.fault(f"*/{item.name}", FlipBit(seed=number))
    report = place.fetch(todo)
    assert report.files == 1000
    assert report.retries == 1000
    for item in todo:
        assert place.path(item.digest).read_bytes() == files[item.name]


def test_an_endpoint_that_announces_other_content_is_refused_before_its_bytes_come(
    hub: Hub, place: Place
) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    hub.fault("*", WrongEtag(), times=None)
    with pytest.raises(CorruptError, match="announces other content"):
        place.fetch([wanted(hub, repo, "a.bin", SMALL)])
    assert hub.gets() == []


def test_an_answer_from_another_revision_is_refused(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    hub.fault("*", Headers(set={"X-Repo-Commit": "0" * 40}), times=None, origin="hub")
    with pytest.raises(CorruptError, match="another revision"):
        place.fetch([wanted(hub, repo, "a.bin", SMALL)])


def test_a_server_without_ranges_is_read_in_one_stream(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"model.safetensors": LARGE})
    todo = [wanted(hub, repo, "model.safetensors", LARGE)]
    hub.fault("*", _IgnoresRanges(), times=None, origin="cdn")
    hub.fault("*", Truncate(at=20 * MIB), times=1, origin="cdn")
    place.fetch(todo)
    assert place.path(todo[0].digest).read_bytes() == LARGE


def test_ranges_that_are_not_those_asked_for_are_not_believed(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"model.safetensors": LARGE})
    todo = [wanted(hub, repo, "model.safetensors", LARGE)]
    total = len(LARGE)
    hub.fault("*", Headers(set={"Content-Range": f"bytes 5-9/{total}"}), times=3, origin="cdn")
    place.fetch(todo)
    assert place.path(todo[0].digest).read_bytes() == LARGE


def test_a_size_other_than_the_one_listed_is_refused(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    hub.fault("*", Headers(set={"X-Linked-Size": "5"}), times=None, origin="hub")
    with pytest.raises(CorruptError) as caught:
        place.fetch([wanted(hub, repo, "a.bin", SMALL)])
    assert (caught.value.expected, caught.value.got) == ("200000 bytes", "5 bytes")


def test_redirects_without_end_are_refused(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    hub.fault("*", RedirectLoop(), times=None)
    with pytest.raises(UpstreamError, match="too many redirects"):
        place.fetch([wanted(hub, repo, "a.bin", SMALL)])


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "EntryNotFound", NotFoundError),
        (404, "RepoNotFound", NotFoundError),
        (401, "RepoNotFound", NotFoundError),
        (404, "RevisionNotFound", NotFoundError),
        (403, "GatedRepo", GatedError),
        (401, None, GatedError),
        (403, None, AccessError),
        (404, None, NotFoundError),
        (418, None, UpstreamError),
    ],
)
def test_a_refusal_is_said_as_what_it_is(
    hub: Hub, place: Place, status: int, code: str | None, error: type[Exception]
) -> None:
    repo = publish(hub, {"a.bin": SMALL})
    hub.fault("*", Status(status, code=code), times=None, origin="hub")
    with pytest.raises(error, match=r"a\.bin"):
        place.fetch([wanted(hub, repo, "a.bin", SMALL)])
    assert len(hub.requests) == 1


class _IgnoresRanges(Fault):
    def concerns(self, request: Request, response: Response) -> bool:
        return response.status == 206

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        assert isinstance(response.body, Slice)
        whole = Slice(response.body.blob, 0, response.body.blob.size)
        return Response(200, {"Content-Length": str(whole.length)}, whole)


class _Replacing(Told):
    """In the middle of a file, puts another Hub in the place of the first, with a CDN elsewhere."""

    def __init__(self, hub: Hub, stack: ExitStack) -> None:
        super().__init__()
        self.hub = hub
        self.stack = stack
        self.other: Hub | None = None

    def advanced(self, count: int) -> None:
        super().advanced(count)
        if self.other is None and self.arrived > 4 * MIB:
            self.hub.close()
            self.other = self.stack.enter_context(Hub(int(self.hub.endpoint.rpartition(":")[2])))
            publish(self.other, {"model.safetensors": LARGE})


class _Fails(Fault):
    """Works for so many requests, then no more."""

    def __init__(self, after: int) -> None:
        self.left = after

    def concerns(self, request: Request, response: Response) -> bool:
        self.left -= 1
        return self.left < 0

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        return Response(500, {"Content-Length": "0"})
