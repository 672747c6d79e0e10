"""The compiled kernels against PyTorch: gradients by autograd, and the trajectory of Adam, on the same noise."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from curvae.reproduce.uniqueness import amortised, scalars, unamortised
from curvae.reproduce.uniqueness.activations import Nonlinearity
from curvae.reproduce.uniqueness.trial import GenerativeModel, Guard, Trial, make_trial

sys.path.insert(0, str(Path(__file__).parents[3]))

from benchmarks import uniqueness_reference as reference

STEPS, PERIOD, SIGMA = 12, 3, 0.05
# each kernel takes a second or two to compile: the quick tests do one of either kind, the slow ones all
FREE = pytest.mark.parametrize(
    ("nu", "mean_field"),
    [
        pytest.param(
            nu,
            mean_field,
            id=f"{nu.value}-{'diagonal' if mean_field else 'full'}",
            marks=[] if (nu, mean_field) == (Nonlinearity.TANH, True) else pytest.mark.slow,
        )
        for nu in Nonlinearity
        for mean_field in (True, False)
    ],
)
FEW = pytest.mark.parametrize(
    "nu",
    [nu if nu is Nonlinearity.TANH else pytest.param(nu, marks=pytest.mark.slow) for nu in Nonlinearity],
)
MODES = pytest.mark.parametrize("mean_field", [True, False], ids=["diagonal", "full"])


def _trial(nu: Nonlinearity, index: int) -> Trial:
    # a fresh seed each run would hide which trial failed; the index varies with every case instead
    return make_trial(GenerativeModel(nu, points=96, sigma=SIGMA), Guard.ALL, seed=17, index=index)


def _draw(key: int, iteration: int, places: int) -> tuple[int, int, scalars.Matrix]:
    with np.errstate(over="ignore"):
        return scalars.noise.py_func(key, iteration, places)  # type: ignore[attr-defined]


def _noise(trial: Trial, iteration: int) -> torch.Tensor:
    """The kernel's noise, put together in NumPy."""
    points = len(trial.x)
    places = (trial.table.shape[1] - points) // scalars.STRIDE + 1
    one, two, turn = _draw(trial.key, iteration, places)
    pair = np.stack([trial.table[0, one : one + points], trial.table[1, two : two + points]])
    return torch.from_numpy((np.array(turn).reshape(2, 2) @ pair).T.copy())[None]


def _tensors(trial: Trial) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(trial.rotations.reshape(1, 3, 2, 2)), torch.from_numpy(trial.x)[None]


def _run_amortised(trial: Trial, nu: Nonlinearity, mean_field: bool, exact: bool, stop: int) -> list[np.ndarray]:
    real = np.float64 if exact else np.float32
    theta, first, second = trial.start.copy(), np.zeros(16), np.zeros(16)
    train = amortised.trainer(nu, exact)
    x, table = np.ascontiguousarray(trial.x.T.astype(real)), trial.table.astype(real)
    train(theta, first, second, x, table, trial.rotations, trial.key, 0, stop, PERIOD, 0.1, SIGMA, mean_field)
    return [theta, first, second]


def _run_unamortised(trial: Trial, nu: Nonlinearity, mean_field: bool, exact: bool, stop: int) -> list[np.ndarray]:
    real = np.float64 if exact else np.float32
    theta, first, second = trial.start[:6].copy(), np.zeros(6), np.zeros(6)
    local = unamortised.to_blocks(trial.start_local.astype(real))
    moments = np.zeros_like(local), np.zeros_like(local)
    train = unamortised.trainer(nu, mean_field, exact)
    x, table = np.ascontiguousarray(trial.x.T.astype(real)), trial.table.astype(real)
    train(theta, first, second, local, *moments, x, table, trial.rotations, trial.key, 0, stop, PERIOD, 0.1, SIGMA)
    return [theta, unamortised.from_blocks(local), first, unamortised.from_blocks(moments[0])]


def _close(found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.cases(1)
@MODES
@FEW
def test_amortised_gradient_is_autograds(nu: Nonlinearity, mean_field: bool) -> None:
    for index in range(3):
        trial = _trial(nu, index)
        rotations, x = _tensors(trial)
        theta = torch.from_numpy(trial.start)[None].requires_grad_()
        reference.amortised_loss(nu, SIGMA, mean_field, theta, rotations, x, _noise(trial, 0)).sum().backward()
        # after one step Adam's first moment is a tenth of the gradient
        _, first, _ = _run_amortised(trial, nu, mean_field, exact=True, stop=1)
        _close(10 * first, theta.grad[0].numpy(), 1e-11)
        _, single, _ = _run_amortised(trial, nu, mean_field, exact=False, stop=1)
        _close(10 * single, theta.grad[0].numpy(), 3e-6)


@pytest.mark.cases(1)
@FREE
def test_unamortised_gradient_is_autograds(nu: Nonlinearity, mean_field: bool) -> None:
    trial = _trial(nu, 3)
    rotations, x = _tensors(trial)
    theta = torch.from_numpy(trial.start[:6])[None].requires_grad_()
    local = torch.from_numpy(trial.start_local)[None].requires_grad_()
    loss = reference.unamortised_loss(nu, SIGMA, mean_field, theta, local, rotations, x, _noise(trial, 0))
    loss.sum().backward()
    *_, first, local_first = _run_unamortised(trial, nu, mean_field, exact=True, stop=1)
    _close(10 * first, theta.grad[0].numpy(), 1e-11)
    _close(10 * local_first, local.grad[0].numpy(), 1e-11)
    *_, single, local_single = _run_unamortised(trial, nu, mean_field, exact=False, stop=1)
    _close(10 * single, theta.grad[0].numpy(), 3e-6)
    _close(10 * local_single, local.grad[0].numpy(), 1e-4)


@MODES
@FEW
def test_amortised_trajectory_is_adams(nu: Nonlinearity, mean_field: bool) -> None:
    """Several steps across drops of the learning rate."""
    trial = _trial(nu, 5)
    rotations, x = _tensors(trial)

    def loss(values: list[torch.Tensor], noise: torch.Tensor) -> torch.Tensor:
        return reference.amortised_loss(nu, SIGMA, mean_field, values[0], rotations, x, noise)

    start = [torch.from_numpy(trial.start)[None]]
    (expected,) = reference.train(loss, start, lambda i: _noise(trial, i), PERIOD, iterations=STEPS)
    found, *_ = _run_amortised(trial, nu, mean_field, exact=True, stop=STEPS)
    _close(found, expected[0].numpy(), 1e-10)
    assert np.abs(found - trial.start).max() > 0.1


@FREE
def test_unamortised_trajectory_is_adams(nu: Nonlinearity, mean_field: bool) -> None:
    trial = _trial(nu, 6)
    rotations, x = _tensors(trial)

    def loss(values: list[torch.Tensor], noise: torch.Tensor) -> torch.Tensor:
        return reference.unamortised_loss(nu, SIGMA, mean_field, *values, rotations, x, noise)

    start = [torch.from_numpy(trial.start[:6])[None], torch.from_numpy(trial.start_local)[None]]
    expected, local = reference.train(loss, start, lambda i: _noise(trial, i), PERIOD, iterations=STEPS)
    found, found_local, *_ = _run_unamortised(trial, nu, mean_field, exact=True, stop=STEPS)
    _close(found, expected[0].numpy(), 1e-10)
    _close(found_local, local[0].numpy(), 1e-9)


@MODES
def test_stopping_and_going_on_changes_no_bit(mean_field: bool) -> None:
    trial = _trial(Nonlinearity.TANH, 7)
    whole = _run_amortised(trial, Nonlinearity.TANH, mean_field, exact=False, stop=STEPS)
    theta, first, second = _run_amortised(trial, Nonlinearity.TANH, mean_field, exact=False, stop=5)
    x, table = np.ascontiguousarray(trial.x.T.astype(np.float32)), trial.table.astype(np.float32)
    amortised.trainer(Nonlinearity.TANH)(
        theta, first, second, x, table, trial.rotations, trial.key, 5, STEPS, PERIOD, 0.1, SIGMA, mean_field
    )
    for one, two in zip(whole, (theta, first, second), strict=True):
        np.testing.assert_array_equal(one, two)


def test_noise_is_standard_normal_and_never_repeats() -> None:
    trial = make_trial(GenerativeModel(Nonlinearity.TANH), Guard.PAPER, seed=3, index=0)
    draws = torch.cat([_noise(trial, i) for i in range(400)]).numpy()
    # 1.6 million pairs: means to 1/sqrt(400·4000) if they were independent; the table allows a few times that
    assert np.abs(draws.mean((0, 1))).max() < 5e-3
    np.testing.assert_allclose(np.cov(draws.reshape(-1, 2).T), np.eye(2), atol=5e-3)
    places = (trial.table.shape[1] - 4000) // scalars.STRIDE + 1
    seen = {_draw(trial.key, i, places) for i in range(20_000)}
    assert len(seen) == 20_000
    offsets = np.array([s[0] for s in seen])
    assert offsets.min() == 0
    assert offsets.max() == (places - 1) * scalars.STRIDE


@pytest.mark.parametrize("iteration", [0, 1, 99_999])
def test_python_and_compiled_noise_agree(iteration: int) -> None:
    plain, compiled = _draw(2**62 + 12345, iteration, 1751), scalars.noise(2**62 + 12345, iteration, 1751)
    assert compiled[:2] == plain[:2]
    assert compiled[2] == pytest.approx(plain[2])
