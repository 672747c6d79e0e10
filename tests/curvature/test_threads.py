"""Passes from several threads at once give what they give alone."""

from __future__ import annotations

import copy
import os
import threading
from collections.abc import Callable

import pytest
import torch
from torch import nn

from curvae import Autoencoder, curvature, geometry, objectives, posteriors
from curvae._transforms import one_at_a_time
from curvae.likelihoods import Gaussian

OBJECTIVES = {
    "grae": objectives.GRAE(0.2),
    "columns": objectives.GRAE(0.2, structure=posteriors.Diagonal(), estimator=curvature.Columns(1)),
    "fraction": objectives.GRAE(0.2, estimator=curvature.Fraction(curvature.Exact(), 0.5)),
    "lanczos": objectives.GRAE(0.2, estimator=curvature.Lanczos(2)),
    "taylor": objectives.Taylor(0.2),
    "hessian": objectives.Taylor(0.2, curvature="hessian"),
    "beta-vae": objectives.BetaVAE(0.2),
}
Task = Callable[[Autoencoder], torch.Tensor]


def _step(name: str, x: torch.Tensor) -> Task:
    def run(model: Autoencoder) -> torch.Tensor:
        """An objective and its gradients."""
        terms = OBJECTIVES[name](model, x, torch.Generator().manual_seed(1))
        gradients = torch.autograd.grad(terms.mean(), list(model.parameters()), allow_unused=True)
        return torch.cat([terms.total.detach(), *(part.flatten() for part in gradients if part is not None)])

    return run


def _tasks(x: torch.Tensor, z: torch.Tensor) -> list[Task]:
    return [
        *(_step(name, x) for name in OBJECTIVES),
        lambda model: curvature.jacobian(model.decode, z).detach(),
        lambda model: curvature.hessian(model.decode, z, x, Gaussian()).detach(),
        lambda model: geometry.pullback(model.decode, z).detach(),
        lambda model: model.reconstruct(x).detach(),
    ]


def _model() -> Autoencoder:
    decoder = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.ELU(), nn.Linear(8, 6))
    return Autoencoder(nn.Linear(6, 8), decoder, latents=3, structure=posteriors.Diagonal())


def _all_agree(threads: int, rounds: int) -> None:
    model, x, z = _model(), torch.randn(8, 6), torch.randn(8, 3)
    tasks = _tasks(x, z)
    expected = [task(model) for task in tasks]
    models = [copy.deepcopy(model) for _ in range(threads)]
    faults: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(rounds * len(tasks)):
                which = (turn + 2 * number) % len(tasks)
                got = tasks[which](models[number])
                if not torch.allclose(got, expected[which], rtol=1e-4, atol=1e-5):
                    faults.append((which, got, expected[which]))
        except Exception as error:
            faults.append(error)

    crew = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in crew:
        thread.start()
    for thread in crew:
        thread.join()
    assert not faults


@pytest.mark.slow
def test_threads_do_not_disturb_each_other() -> None:
    _all_agree(threads=4, rounds=12)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    inside, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with one_at_a_time():
            inside.set()
            leave.wait(30)

    holder = threading.Thread(target=hold)
    holder.start()
    assert inside.wait(30)
    child = os.fork()
    if child == 0:
        free = threading.Event()

        def enter() -> None:
            with one_at_a_time():
                free.set()

        threading.Thread(target=enter, daemon=True).start()
        os._exit(0 if free.wait(20) else 1)
    _, status = os.waitpid(child, 0)
    leave.set()
    holder.join()
    assert status == 0


def test_a_pass_inside_a_pass_is_let_in() -> None:
    inner = nn.Linear(2, 2)
    got = curvature.jacobian(lambda z: geometry.pullback(inner, z), torch.randn(3, 2))
    torch.testing.assert_close(got, torch.zeros(3, 2, 2, 2))
