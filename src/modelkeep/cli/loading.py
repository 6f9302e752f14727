"""The line of code that loads what was pulled."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from modelkeep.hub.repo import DEFAULT_REVISION

_AUTO_CLASSES = (
    "ForCausalLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "ForMaskedLM",
)


def loading_line(repo: str, type: str, revision: str, snapshot: Path) -> str | None:  # noqa: A002 - the Hub's word
    """Return code that loads a snapshot by its repo's name; None where there is no usual way."""
    quoted = json.dumps(repo)
    if revision != DEFAULT_REVISION:
        quoted += f", revision={json.dumps(revision)}"
    if type == "dataset":
        return f"datasets.load_dataset({quoted})"
    if type == "kernel":
        return f"kernels.get_kernel({quoted})"
    if type != "model":
        return None
    names = {path.name for path in snapshot.iterdir()}
    if "model_index.json" in names:
        return f"diffusers.DiffusionPipeline.from_pretrained({quoted})"
    if "modules.json" in names:
        return f"sentence_transformers.SentenceTransformer({quoted})"
    if "adapter_config.json" in names:
        return f"peft.AutoPeftModel.from_pretrained({quoted})"
    if "config.json" in names:
        return f"transformers.{_auto_class(snapshot)}.from_pretrained({quoted})"
    return _gguf(snapshot, names)


def _auto_class(snapshot: Path) -> str:
    try:
        config = json.loads((snapshot / "config.json").read_bytes())
        architecture = str(config["architectures"][0])
    except (OSError, ValueError, LookupError, TypeError):
        return "AutoModel"
    for suffix in _AUTO_CLASSES:
        if architecture.endswith(suffix):
            return f"AutoModel{suffix}"
    return "AutoModel"


def _gguf(snapshot: Path, names: Collection[str]) -> str | None:
    found = sorted(name for name in names if name.endswith(".gguf"))
    return f"llama-server -m {snapshot / found[0]}" if found else None
