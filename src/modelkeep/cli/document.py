"""Results as JSON: names as in the dataclasses, paths and digests as text."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from modelkeep.errors import ModelkeepError
from modelkeep.store.digest import Digest


def plain(value: object) -> Any:
    """Return a result as what JSON knows: objects, arrays, text, numbers, true, false, null."""
    if isinstance(value, Digest | PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: plain(getattr(value, field.name)) for field in fields}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def fields(result: object) -> dict[str, object]:
    """Return the fields of a dataclass as a document."""
    found: dict[str, object] = plain(result)
    return found


def error(failure: ModelkeepError, exit_code: int | None = None) -> dict[str, object]:
    """Return the object that stands under `error`."""
    return {
        "kind": failure.kind,
        "message": failure.message,
        "hint": failure.hint,
        "path": failure.path,
        "errno": failure.errno,
        "exit_code": failure.exit_code if exit_code is None else exit_code,
    }


def text(document: Mapping[str, object]) -> str:
    """Return a document as it is printed."""
    return json.dumps(plain(document), indent=2)
