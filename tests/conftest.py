"""Fixtures that several rooms' tests share."""

import functools
import math
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

import jaxtyping
import numpy as np
import pytest
import torch
from hypothesis import settings

if TYPE_CHECKING:
    from curvae.runs import RunConfig

settings.register_profile("curvae", deadline=None, max_examples=30)
settings.load_profile("curvae")

_CHECKED = pytest.StashKey[bool]()
_often = 200.0  # calls of a function that a test checks
_calls: Counter[CodeType] = Counter()
_jaxtyped = jaxtyping.jaxtyped
_WHOLE = {"benchmarks", "cli", "inspection", "report", "reproduce", "runs", "sklearn", "training"}


def _checked_when_called(fn: Any = None, *, typechecker: Any = None) -> Any:
    """What the import hook of jaxtyping decorates with; as ``jaxtyping.jaxtyped``, but prepared when first needed.

    Most tests check no shapes, and a function inside a function would be prepared at every call of the outer one. What
    a test calls a thousand times, such as a ``__torch_function__``, is checked in the first calls.
    """
    if fn is None:
        return functools.partial(_checked_when_called, typechecker=typechecker)
    if not isinstance(fn, FunctionType):
        return _jaxtyped(fn, typechecker=typechecker)
    checked: Callable[..., Any] | None = None

    @functools.wraps(fn)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if jaxtyping.config.jaxtyping_disable or _calls[fn.__code__] >= _often:
            return fn(*args, **kwargs)
        _calls[fn.__code__] += 1
        if checked is None:
            # what Self is, beartype only knows where it decorates the whole class
            fn.__annotations__ = {name: hint for name, hint in fn.__annotations__.items() if hint != "Self"}
            checked = _jaxtyped(fn, typechecker=typechecker)
        return checked(*args, **kwargs)

    return call


jaxtyping.jaxtyped = _checked_when_called


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Cases that the quick suite leaves out are slow; ``cases`` and ``covering`` are explained in pyproject.toml."""
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if not item.get_closest_marker("slow"):
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    for cases in tests.values():
        few = cases[0].get_closest_marker("cases")
        quick = cases[: few.args[0]] if few else _cover(cases) if cases[0].get_closest_marker("covering") else cases
        for item in cases:
            if item not in quick:
                item.add_marker(pytest.mark.slow)


def _cover(cases: list[pytest.Item]) -> list[pytest.Item]:
    """Few of the cases, among which is every value of every parameter."""
    left = {case: {(name, str(value)) for name, value in case.callspec.params.items()} for case in cases}  # type: ignore[attr-defined]
    chosen = []
    while any(left.values()):
        best = max(left, key=lambda case: len(left[case]))  # the first of several
        shown = left.pop(best)
        chosen.append(best)
        left = {case: values - shown for case, values in left.items()}
    return chosen


def pytest_collection_finish(session: pytest.Session) -> None:
    """Shapes are checked in the first case of a test, but not along whole trainings; with the slow tests, everywhere.

    They would take more than half of the quick suite's time.
    """
    every, seen = "slow" in session.config.option.markexpr.replace("not slow", "", 1), set()
    global _often
    if every:
        _often = math.inf
    for item in session.items:
        whole = item.nodeid.partition("[")[0]
        item.stash[_CHECKED] = every or (whole not in seen and not _WHOLE.intersection(whole.split("/")))
        seen.add(whole)
    jaxtyping.config.update("jaxtyping_disable", True)


@pytest.hookimpl(tryfirst=True)  # before any fixture
def pytest_runtest_setup(item: pytest.Item) -> None:
    _calls.clear()
    jaxtyping.config.update("jaxtyping_disable", not item.stash[_CHECKED])


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown() -> None:
    """The examples in docstrings, which no hook of this file sees, are run without checks."""
    jaxtyping.config.update("jaxtyping_disable", True)


@pytest.fixture
def float64() -> Iterator[None]:
    """Modules and tensors made in the test are float64: a formula is wrong or right, not close."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(params=[0, pytest.param(1, marks=pytest.mark.slow)])
def seed(request: pytest.FixtureRequest) -> Iterator[int]:
    """Other inputs and other initial weights each time: one seed in the quick suite, a second with ``-m slow``."""
    with torch.random.fork_rng():
        torch.manual_seed(request.param)
        yield request.param


@pytest.fixture
def as_shipped() -> Iterator[None]:
    """Let shapes go unchecked by jaxtyping, as on a user's machine: what is left must be the library's own error."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture(scope="session")
def small_run() -> "Callable[..., RunConfig]":
    """The configuration of a run that takes a moment, with its data: ``small_run(folder, shape, **options)``."""
    from curvae.runs import RunConfig

    def configure(folder: Path, shape: tuple[int, ...] = (60, 6), **options: Any) -> RunConfig:
        path = folder / ("vectors.npy" if len(shape) == 2 else "images.npy")
        np.save(path, np.random.default_rng(0).random(shape, dtype=np.float32))
        small = {
            "data": str(path), "network": "mlp", "width": 0.02, "latents": 3, "steps": 10, "batch_size": 8,
            "checkpoint_every": 5, "log_every": 5, "device": "cpu",
        }  # fmt: skip
        return RunConfig(**(small | options))

    return configure
