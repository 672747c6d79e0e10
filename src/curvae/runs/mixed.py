"""Tables of mixed columns: which is of which kind, the observation model of them all, and where it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch

from curvae._checks import is_whole, shown, some
from curvae._typing import Float, Tensor
from curvae.autoencoder import Autoencoder
from curvae.data import Dataset
from curvae.errors import InputError
from curvae.likelihoods import BernoulliLogits, LearnedGaussian, LearnedNegativeBinomial, Likelihood, Masked, Mixed
from curvae.nn.columns import Placed, Standardised
from curvae.runs.placing import placed, start

MIXED, MASKED = "mixed", "masked:"
KINDS = ("continuous", "binary", "counts")
RULE = "0 and 1 alone are binary, whole numbers from 0 on with a 0 among them are counts, all else is continuous"
_FORM = "mixed, mixed:COLUMN=KIND,… or mixed:KIND:COUNT,… with the kinds continuous, binary and counts"
# of a column's standard deviation: one that is reproduced exactly has no best noise scale
_FLOOR = 0.01
# each is a call of an observation model in every step
_MOST_PIECES = 200


def bare(text: str) -> str:
    """An observation model's text without ``masked:``.

    Example:
        >>> bare("masked:gaussian:0.1"), bare("poisson")
        ('gaussian:0.1', 'poisson')
    """
    return text.removeprefix(MASKED)


def is_mixed(text: str) -> bool:
    """Whether an observation model is of columns of several kinds."""
    return bare(text).partition(":")[0] == MIXED


def is_open(text: str) -> bool:
    """Whether the data are still to say which columns are of which kind.

    Example:
        >>> [is_open(text) for text in ("mixed", "mixed:age=counts", "mixed:continuous:2,binary:1", "gaussian")]
        [True, True, False, False]
    """
    return is_mixed(text) and (bare(text) == MIXED or "=" in text)


def may_miss(text: str) -> bool:
    """Whether data with missing values may be read for an observation model: a mixed one looks whether there are any.

    Example:
        >>> [may_miss(text) for text in ("masked:gaussian", "mixed", "mixed:binary:2", "gaussian")]
        [True, True, False, False]
    """
    return text.startswith(MASKED) or is_open(text)


def build_mixed(text: str) -> Mixed:
    """The product of ``mixed:KIND:COUNT,…``, all of it learned, at no particular place.

    Raises:
        InputError: the kinds of the columns are not known, or the text says something else.

    Example:
        >>> build_mixed("mixed:continuous:2,counts:1").columns
        3
    """
    if is_open(text):
        raise InputError(
            f"likelihood is {text!r}, for which the data say what each column is; expected a table to train on, or "
            "mixed:KIND:COUNT,…, such as mixed:continuous:3,binary:1"
        )
    return Mixed([(_one(kind, count), count) for kind, count in pieces(text)])


def pieces(text: str) -> list[tuple[str, int]]:
    """Kinds of neighbouring columns, each with their number.

    Raises:
        InputError: another text.

    Example:
        >>> pieces("masked:mixed:continuous:2,binary:1")
        [('continuous', 2), ('binary', 1)]
    """
    found = []
    for part in bare(text).partition(":")[2].split(","):
        kind, _, count = part.partition(":")
        number = int(count) if is_whole(count) and len(count) < 10 else 0
        if kind not in KINDS or not number:
            raise InputError(f"likelihood is {text!r}; expected {_FORM}")
        found.append((kind, number))
    return found


def resolved(text: str, dataset: Dataset) -> str:
    """A text whose kinds the data say, as one that says them itself; any other as it is.

    Columns of 0 and 1 alone are binary, whole numbers from 0 on, with 0 among them, are counts, and all else is
    continuous; ``COLUMN=KIND`` says otherwise. Where values are missing the result is masked.

    Raises:
        InputError: no table, no such column or kind, or numbers that are not of that kind.

    Example:
        >>> x = torch.tensor([[0.5, 0.0, 3.0], [1.0, 1.0, 0.0]])
        >>> resolved("mixed", Dataset("toy", x, x, {})), resolved("mixed:2=continuous", Dataset("toy", x, x, {}))
        ('mixed:continuous:1,binary:1,counts:1', 'mixed:continuous:1,binary:1,continuous:1')
    """
    if not is_open(text):
        return text
    values = _table(text, dataset)
    names = columns_of(dataset)
    kinds = inferred(values)
    for name, kind in _named(text):
        if name not in names:
            has = some(list(map(repr, names)), 8)
            raise InputError(f"likelihood names the column {shown(name)}, but {dataset.name} has {has}")
        kinds[names.index(name)] = kind
    _check_kinds(kinds, values, names, dataset.name)
    groups = [(kind, len(list(group))) for kind, group in groupby(kinds)]
    if len(groups) > _MOST_PIECES:
        raise InputError(
            f"the columns of {dataset.name} change their kind {len(groups)} times; put columns of one kind side by "
            f"side (at most {_MOST_PIECES} groups)"
        )
    gaps = text.startswith(MASKED) or bool(values.isnan().any())
    return MASKED * gaps + "mixed:" + ",".join(f"{kind}:{count}" for kind, count in groups)


def continued(text: str, stored: str, names: Sequence[str]) -> str:
    """The observation model that a run has stored, for a text that leaves it to the data and says nothing else.

    Example:
        >>> continued("mixed:b=binary", "masked:mixed:counts:1,binary:1", ["a", "b"])
        'masked:mixed:counts:1,binary:1'
        >>> continued("mixed:b=counts", "masked:mixed:counts:1,binary:1", ["a", "b"])
        'mixed:b=counts'
    """
    if not is_open(text) or not is_mixed(stored) or text.startswith(MASKED) > stored.startswith(MASKED):
        return text
    kinds = dict(zip(names, _kinds(stored), strict=False))
    return stored if all(kinds.get(name) == kind for name, kind in _named(text)) else text


def inferred(values: Float[Tensor, "N C"]) -> list[str]:
    """The kind of each column, of its observed values.

    Example:
        >>> inferred(torch.tensor([[0.0, 0.0, 1.0, 2.0], [torch.nan, 2.0, 1.0, 3.0]]))
        ['binary', 'counts', 'binary', 'continuous']
    """
    missing = values.isnan()
    unit = ((values == 0) | (values == 1) | missing).all(0) & ~missing.all(0)
    counts = (((values >= 0) & (values == values.floor())) | missing).all(0) & (values == 0).any(0)
    return ["binary" if one else "counts" if many else "continuous" for one, many in zip(unit, counts, strict=True)]


def check_kinds(text: str, dataset: Dataset, training: bool = True) -> None:
    """Refuse a table that a mixed observation model is not of; in training each column has to have some value.

    Raises:
        InputError: other columns than it has, or numbers that are not of their kind.
    """
    values = _table(text, dataset)
    kinds = _kinds(text)
    if len(kinds) != values.shape[1]:
        raise InputError(f"likelihood is {text!r}, of {len(kinds)} columns, but {dataset.name} has {values.shape[1]}")
    _check_kinds(kinds, values, columns_of(dataset), dataset.name, training)


def told(text: str, dataset: Dataset) -> str:
    """What was taken for what, on one line."""
    groups = dict[str, list[str]]()
    for kind, name in zip(_kinds(text), columns_of(dataset), strict=True):
        groups.setdefault(kind, []).append(name)
    each = [f"{len(found)} {kind} ({some(found, 6)})" for kind, found in groups.items()]
    return f"columns: {', '.join(each)}; {RULE} (mixed:COLUMN=KIND says otherwise)"


def columns_of(dataset: Dataset) -> list[str]:
    """The columns' names, or their numbers from 0 on."""
    return list(dataset.columns or map(str, range(dataset.shape[0])))


@torch.no_grad()
def begin(model: Autoencoder, text: str, dataset: Dataset) -> None:
    """Put a new model of a mixed table where the training half is: what its networks see and say, and its scales."""
    x = dataset.train[:]
    own = dict(model.named_children()).get("likelihood")
    inner = own.likelihood if isinstance(own, Masked) else own
    if not isinstance(inner, Mixed) or repr(inner) != repr(build_mixed(bare(text))):
        return  # a model of one's own has begun it elsewhere
    start(inner, x)
    centre, scale = placed(inner, x, inner.outputs)
    if isinstance(model.encoder, Standardised):
        model.encoder.fit(x.to(model.encoder.centre))
    if isinstance(model.decoder, Placed):
        model.decoder.centre.copy_(centre)
        model.decoder.scale.copy_(scale)


def _kinds(text: str) -> list[str]:
    return [kind for kind, count in pieces(text) for _ in range(count)]


def _one(kind: str, count: int) -> Likelihood:
    # on the CPU where a model is built without memory: scales are looked at
    start = torch.ones(count, device="cpu")
    if kind == "continuous":
        return LearnedGaussian(start, floor=_FLOOR).with_kept_floor()
    return BernoulliLogits() if kind == "binary" else LearnedNegativeBinomial(10 * start)


def _named(text: str) -> Iterator[tuple[str, str]]:
    """Columns whose kind is said."""
    for part in bare(text).partition(":")[2].split(","):
        name, _, kind = part.rpartition("=")
        if part and (kind not in KINDS or not name):
            raise InputError(f"likelihood is {text!r}; expected {_FORM}")
        if part:
            yield name.strip(), kind


def _table(text: str, dataset: Dataset) -> Float[Tensor, "N C"]:
    if len(dataset.shape) != 1:
        raise InputError(f"likelihood is {text!r} but {dataset.name} has samples of shape {dataset.shape}, no columns")
    if dataset.train.dtype == torch.uint8:
        raise InputError(f"likelihood is {text!r} but {dataset.name} holds bytes, which are pixels; save it as float32")
    return torch.cat([dataset.train[:], dataset.test[:]])


def _check_kinds(
    kinds: list[str], values: Float[Tensor, "N C"], names: list[str], where: str, training: bool = True
) -> None:
    for kind, name, column in zip(kinds, names, values.T, strict=True):
        seen = column[~column.isnan()]
        if not len(seen) and training:
            raise InputError(f"{where} has no value at all in column {name!r}; leave it out with --drop")
        if kind == "binary":
            wrong = seen[(seen != 0) & (seen != 1)]
        elif kind == "counts":
            wrong = seen[(seen < 0) | (seen != seen.floor())]
        else:
            continue
        if len(wrong):
            expected = "0 and 1 alone" if kind == "binary" else "whole numbers >= 0"
            raise InputError(f"{where} has {float(wrong[0]):.6g} in column {name!r}, which is {kind}: {expected}")
