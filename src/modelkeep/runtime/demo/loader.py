"""Loads a model with stock transformers and compares two sentences. Knows nothing of modelkeep.

usage: python loader.py REPO REVISION RESULT    writes a JSON document to the file RESULT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

SENTENCES = ("The cat sleeps on the sofa.", "A kitten is napping on the couch.")
_NETWORK = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}


def main(repo: str, revision: str, result: Path) -> None:
    """Load the model, with every attempt to use a network counted."""
    calls = []

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        # A socket on this machine's file system has a path for an address, others have a tuple.
        if event in _NETWORK and not isinstance(arguments[-1], str | bytes):
            calls.append(event)

    sys.addaudithook(watch)
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(repo, revision=revision)
    model = AutoModel.from_pretrained(repo, revision=revision).eval()
    batch = tokenizer(list(SENTENCES), padding=True, return_tensors="pt")
    with torch.inference_mode():
        tokens = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).to(tokens.dtype)
    means = (tokens * mask).sum(1) / mask.sum(1)
    cosine = torch.nn.functional.cosine_similarity(means[0], means[1], dim=0)
    result.write_text(json.dumps({"cosine": float(cosine), "network_calls": len(calls)}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
