"""The whole loss in one module, and what an objective says to wrappers."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel

from curvae import Autoencoder
from curvae.curvature import Lanczos
from curvae.errors import InputError
from curvae.likelihoods import LearnedGaussian
from curvae.objectives import GRAE, RAE, BetaVAE, Loss, Taylor
from curvae.posteriors import Diagonal, Full

SCRIPT = Path(__file__).parent / "parallel_steps.py"


def _model(structure: Diagonal | Full | None = None) -> Autoencoder:
    return Autoencoder(nn.Linear(5, 9), nn.Sequential(nn.Linear(3, 4), nn.ELU(), nn.Linear(4, 5)), 3, structure)


@pytest.fixture(scope="module")
def steps() -> ModuleType:
    spec = importlib.util.spec_from_file_location("parallel_steps", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def found(steps: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """What two processes say."""
    folder = tmp_path_factory.mktemp("parallel")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen([sys.executable, str(SCRIPT), str(rank), str(folder)], env=environment)
        for rank in range(steps.RANKS)
    ]
    assert [rank.wait() for rank in ranks] == [0] * steps.RANKS
    return torch.load(folder / "found.pt", weights_only=True)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"find_unused_parameters": True}, {"static_graph": True}], ids=str)
@pytest.mark.parametrize("name", ["beta-vae", "exact", "columns", "regulariser"])
def test_two_processes_give_the_gradients_of_the_whole_batch(
    name: str, options: dict[str, bool], steps: ModuleType, found: dict[str, dict[str, torch.Tensor]]
) -> None:
    loss = steps.make_loss(name)
    torch.cat([loss(*steps.part(rank)).total for rank in range(steps.RANKS)]).mean().backward()
    expected = {key: parameter.grad for key, parameter in loss.named_parameters()}
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in expected.values())
    torch.testing.assert_close(found[f"{name} {options}"], expected)


@pytest.mark.usefixtures("as_shipped", "group")
def test_an_objective_does_not_go_past_ddp() -> None:
    objective, x, model = GRAE(0.2), torch.randn(4, 5), _model()
    objective(model, x)  # a model of its own is nobody's, yet
    loss = DistributedDataParallel(Loss(model, objective), static_graph=True)
    loss(x).mean().backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in model.parameters())
    alone = DistributedDataParallel(_model())
    with pytest.raises(InputError, match=r"is wrapped \(Distr.*objectives.Loss"):
        objective(alone, x)
    for inside in (alone.module, loss.module.model):
        with pytest.raises(InputError, match=r"would not be synchronised.*objectives.Loss"):
            objective(inside, x)
        with torch.no_grad():
            objective(inside, x)  # nothing to synchronise


OBJECTIVES = [BetaVAE(0.2), Taylor(0.2), RAE(0.2), GRAE(0.2), GRAE(0.2, estimator=Lanczos(2))]


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_wrappers_and_half_precision_are_refused_in_one_line(objective: GRAE) -> None:
    model, x = _model(Diagonal()), torch.randn(4, 5)
    advice = {nn.DataParallel: r"objectives.Loss\(model, objective\)", AveragedModel: "as .module; give that"}
    for kind, told in advice.items():
        wrapped = kind(model)
        with pytest.raises(InputError, match=rf"^the model is wrapped \(.*\), .*{told}"):
            objective(wrapped, x)
        with pytest.raises(InputError, match="the model is wrapped"):
            Loss(wrapped, objective)
    for dtype in (torch.float16, torch.bfloat16):
        half = _model(Diagonal()).to(dtype)
        with pytest.raises(InputError, match=rf"^the model's weights are {dtype}.*torch.autocast$"):
            objective(half, x)
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)  # as accelerate.prepare does
    model._original_forward = type(model).forward
    with pytest.raises(InputError, match=r"^accelerate has prepared this Autoencoder.*objectives.Loss"):
        objective(model, x)


def test_a_prepared_loss_computes_under_autocast() -> None:
    """What accelerate does to a module: its forward pass and nothing else runs in half precision."""
    loss, x = Loss(_model(), GRAE(0.2)), torch.randn(4, 5)
    plain, types = loss(x), []
    loss.model.decoder[0].register_forward_hook(lambda module, inputs, output: types.append(output.dtype))
    loss.forward = torch.autocast("cpu", torch.bfloat16)(loss.forward)
    cast = loss(x)
    assert types == [torch.bfloat16]
    assert cast.total.dtype == torch.float32
    torch.testing.assert_close(cast.total, plain.total, rtol=0.05, atol=0.05)
    assert not torch.equal(cast.total, plain.total)


def test_the_loss_is_the_objective_and_holds_all_weights() -> None:
    model, likelihood = _model(), LearnedGaussian()
    loss, x = Loss(model, GRAE(0.2, likelihood=likelihood)), torch.randn(4, 5)
    torch.testing.assert_close(loss(x).parts, GRAE(0.2, likelihood=likelihood)(model, x).parts)
    assert set(loss.parameters()) == {*model.parameters(), *likelihood.parameters()}
    loss(x).mean().backward()
    assert all(parameter.grad is not None for parameter in loss.parameters())
    terms = nn.DataParallel(loss)(x)  # on one device it calls what it wraps
    torch.testing.assert_close(terms.total, loss(x).total)


@pytest.mark.usefixtures("float64", "as_shipped")
def test_terms_pass_through_the_transforms(seed: int) -> None:
    loss, x = Loss(_model(), RAE(0.2)), torch.randn(6, 2, 5)
    weights = dict(loss.named_parameters())
    terms = vmap(lambda batch: functional_call(loss, weights, (batch,)))(x)
    torch.testing.assert_close(terms["penalty"], torch.stack([loss(batch)["penalty"] for batch in x]))
