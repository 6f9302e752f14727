"""Stock sentence-transformers loads the real MiniLM weights from a keep and connects to nothing."""

from __future__ import annotations

import pytest
from tests.clients import run_client
from tests.models import files_of, minilm
from tests.real.site import NEWEST, Site
from tests.serve import MINILM

pytestmark = pytest.mark.real

SENTENCES = ("A man is eating food.", "A man is eating a piece of bread.")
COSINE = 0.7553  # of these sentences, by this model

LOAD = f"""
import sys
connected = []
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        connected.append(str(arguments))
sys.addaudithook(watch)
from sentence_transformers import SentenceTransformer
model = SentenceTransformer({MINILM!r})
one, other = model.encode({SENTENCES!r}, normalize_embeddings=True)
result = [float(one @ other), len(one), connected]
"""


def test_offline_the_cosine_of_two_sentences_is_the_known_one(own_site: Site) -> None:
    site = own_site
    site.hub.repo(MINILM).commit(files_of(minilm()))
    site.keep.pull(MINILM)
    site.hub.clear_log()

    cosine, width, connected = run_client(NEWEST, LOAD, site.env(offline=True))

    assert cosine == pytest.approx(COSINE, abs=2e-4)
    assert width == 384
    assert (connected, site.hub.requests) == ([], [])
