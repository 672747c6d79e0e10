"""What ``curvae evaluate`` measured, in a run folder: the numbers, and matrices of a few data beside them."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from curvae.errors import InputError
from curvae.files import alone, read_regular, write_atomic
from curvae.metrics import Evaluation, Examples
from curvae.runs.documents import read_document, write_document
from curvae.runs.schema import amount, count, digest, flag, number, optional, record, text

_FORMAT = "curvae-evaluation"
# nothing is lost with one that is damaged
_CURE = "run curvae evaluate again, or delete it"
_ARRAYS = ("x", "precision", "implied")


def write_evaluation(folder: Path, evaluation: Evaluation, beside: Mapping[str, Any]) -> None:
    """Write ``evaluation.npz`` and ``evaluation.json``, which names its digest and has what is ``beside``, too.

    The caller holds the folder (:func:`~curvae.files.alone`), so that the two are of one evaluation.
    """
    examples, path = evaluation.examples, folder / "evaluation.json"
    content = {"evaluation": evaluation.to_json(), **beside}
    if examples is None:
        # null: should this end before the arrays of an earlier evaluation are gone, they are not taken for its own
        write_document(path, _FORMAT, {**content, "examples_sha256": None})
        (folder / "evaluation.npz").unlink(missing_ok=True)
        return
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{name: getattr(examples, name).astype(np.float32) for name in _ARRAYS})
    # the digest tells the arrays from those of another evaluation, should this end between the two files
    content["examples_sha256"] = hashlib.sha256(buffer.getvalue()).hexdigest()

    def write(temporary: Path) -> None:
        # both have room on the disk before one takes its place: an earlier evaluation is kept where there is none
        temporary.write_bytes(buffer.getvalue())
        write_document(path, _FORMAT, content)

    write_atomic(folder / "evaluation.npz", write)


def read_evaluation(folder: Path) -> Evaluation | None:
    """Read back what :func:`write_evaluation` wrote; None if there is nothing.

    Raises:
        InputError: a file is damaged, or the two are of different evaluations.
    """
    path, more = folder / "evaluation.json", {"examples_sha256": optional(digest)}
    with alone(folder):
        if not path.exists():
            return None
        document = read_document(path, _FORMAT, {"evaluation": _evaluation}, more, _CURE)
        sha256 = document.get("examples_sha256", "")  # of 0.1 there is none
        examples = None if sha256 is None else _examples(folder / "evaluation.npz", sha256)
    return Evaluation.from_json(document["evaluation"], examples)


def _evaluation(name: str, value: Any) -> None:
    """The schema of an evaluation is that of its class, which itself looks for what is missing."""
    kinds = {"int": count, "float": number, "str": text, "bool": flag, "float | None": optional(number)}
    estimate = record({"mean": number, "se": optional(amount)})
    record({}, {f.name: kinds.get(str(f.type), estimate) for f in fields(Evaluation)})(name, value)


def _examples(path: Path, sha256: str) -> Examples | None:
    content = read_regular(path)
    if content is None:
        return None
    if sha256 not in ("", hashlib.sha256(content).hexdigest()):
        raise InputError(
            f"{path} is damaged or belongs to another evaluation than evaluation.json; run curvae evaluate again"
        )
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return Examples(*(arrays[name] for name in _ARRAYS))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} is damaged; run curvae evaluate again") from error
