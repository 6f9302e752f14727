"""The token goes to the endpoint and nowhere else, and stands in no message."""

from __future__ import annotations

import pytest

from modelkeep.errors import GatedError, ModelkeepError, UpstreamError
from tests.fetch.support import Place, noise, publish, wanted
from tests.hub import Fault, Headers, Hub, Status
from tests.hub.faults import Course
from tests.hub.messages import Request, Response

MIB = 1 << 20
TOKEN = "hf_secret"


@pytest.fixture
def place(place: Place, hub: Hub) -> Place:
    place.token = hub.token(TOKEN, ["org/private"])
    return place


def test_a_private_repo_needs_it_and_the_cdn_never_sees_it(hub: Hub, place: Place) -> None:
    repo = hub.repo("org/private", private=True)
    files = {"model.safetensors": noise(40 * MIB), "config.json": b"{}"}
    repo.commit(files)
    todo = [wanted(hub, repo, name, data) for name, data in files.items()]
    assert place.fetch(todo).files == 2
    assert all(request.authorized for request in hub.matching("*", origin="hub"))
    assert not any(request.authorized for request in hub.matching("*", origin="cdn"))
    assert len(hub.matching("*", origin="cdn")) > 1


def test_without_it_the_message_says_what_to_do(hub: Hub, place: Place) -> None:
    repo = hub.repo("org/gated", gated=True)
    repo.commit({"a.bin": b"x" * 100})
    place.token = None
    with pytest.raises(ModelkeepError) as caught:
        place.fetch([wanted(hub, repo, "a.bin", b"x" * 100)])
    assert isinstance(caught.value, GatedError)
    assert "hf auth login" in (caught.value.hint or "")


def test_a_redirect_on_the_endpoint_itself_gets_it(hub: Hub, place: Place) -> None:
    hub.cache_route = True
    repo = hub.repo("org/private", private=True)
    repo.commit({"config.json": b"{}"})
    assert place.fetch([wanted(hub, repo, "config.json", b"{}")]).files == 1
    assert len(hub.matching("*", origin="hub")) == 2
    assert all(request.authorized for request in hub.requests)


def test_a_redirect_that_comes_back_from_elsewhere_does_not_get_it(hub: Hub, place: Place) -> None:
    data = noise(1000)
    repo = publish(hub, {"a.bin": data})
    hub.fault("*", _SendsBack(f"{hub.endpoint}/org/model/resolve/main/a.bin"), origin="cdn")
    place.fetch([wanted(hub, repo, "a.bin", data)])
    seen = [(request.origin, request.authorized) for request in hub.requests]
    assert seen == [("hub", True), ("cdn", False), ("hub", False), ("cdn", False)]


def test_a_url_of_another_origin_does_not_get_it(hub: Hub, place: Place) -> None:
    data = noise(1000)
    repo = publish(hub, {"a.bin": data})
    place.endpoint = "http://127.0.0.1:1"
    item = wanted(hub, repo, "a.bin", data)
    place.fetch([item])
    assert not any(request.authorized for request in hub.requests)


def test_neither_token_nor_signature_is_said(
    hub: Hub, place: Place, caplog: pytest.LogCaptureFixture
) -> None:
    data = noise(1000)
    repo = publish(hub, {"a.bin": data})
    hub.fault("*", Status(500), times=None, origin="cdn")
    with caplog.at_level("INFO"), pytest.raises(UpstreamError) as caught:
        place.fetch([wanted(hub, repo, "a.bin", data)])
    said = f"{caught.value} {caught.value.hint} {place.told.waits} {place.told.notes} {caplog.text}"
    queries = {request.query for request in hub.matching("*", origin="cdn")}
    assert queries
    assert "?" not in said
    assert not any(query in said for query in queries)
    assert TOKEN not in said


def test_a_redirect_away_from_http_is_refused(hub: Hub, place: Place) -> None:
    repo = publish(hub, {"a.bin": b"1" * 50})
    hub.fault("*", Headers(set={"Location": "file:///etc/passwd"}), origin="hub")
    with pytest.raises(UpstreamError, match="away from HTTP"):
        place.fetch([wanted(hub, repo, "a.bin", b"1" * 50)])


class _SendsBack(Fault):
    def __init__(self, url: str) -> None:
        self.url = url

    def spoil(self, request: Request, response: Response, course: Course) -> Response:
        return Response(302, {"Location": self.url, "Content-Length": "0"})
