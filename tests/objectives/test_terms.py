"""Named parts and their sum."""

from __future__ import annotations

import pytest
import torch

from curvae import Autoencoder, objectives, posteriors
from curvae.curvature import Columns
from curvae.errors import InputError
from curvae.nn import MLPDecoder, MLPEncoder
from curvae.objectives import Terms

CASES = {
    "beta-vae": (objectives.BetaVAE(beta=0.2, samples=2), {"nll", "kl"}),
    "taylor": (objectives.Taylor(beta=0.2), {"nll", "curvature", "kl"}),
    "grae": (objectives.GRAE(beta=0.2), {"nll", "prior", "penalty"}),
    "grae-columns": (
        objectives.GRAE(beta=0.2, structure=posteriors.Diagonal(), estimator=Columns(1)),
        {"nll", "prior", "penalty"},
    ),
}


def test_sum_and_mean(seed: int) -> None:
    a, b = torch.randn(4), torch.randn(4)
    terms = Terms({"a": a, "b": b})
    torch.testing.assert_close(terms.total, a + b)
    torch.testing.assert_close(terms.mean(), (a + b).sum() / 4)
    assert terms["b"] is b


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float64"])
def test_every_objective_names_its_parts(name: str, precision: str, seed: int) -> None:
    objective, names = CASES[name]
    model = Autoencoder(
        MLPEncoder((2, 3), hidden=(8,)), MLPDecoder(3, (2, 3), hidden=(8,)), latents=3, structure=posteriors.Full()
    )
    x = torch.rand(5, 2, 3)
    if precision == "float64":
        model, x = model.double(), x.double()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        terms = objective(model, x, generator=torch.Generator().manual_seed(seed))
    assert set(terms.parts) == names
    kept = torch.float64 if precision == "float64" else torch.float32  # the objective is never in half precision
    assert all(part.shape == (5,) and part.dtype == kept for part in terms.parts.values())
    torch.testing.assert_close(terms.total, torch.stack([terms[n] for n in sorted(names)]).sum(0))
    terms.mean().backward()
    used = [n for n, p in model.named_parameters() if p.grad is not None and p.grad.isfinite().all()]
    expected = [n for n, _ in model.named_parameters() if "grae" not in name or not n.startswith("factor_head")]
    assert used == expected


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize(
    ("part", "said"),
    [
        (torch.ones(4, 3), r"of shape \(4, 3\)"),  # would be averaged over outputs, too
        (torch.ones(4, 1), r"of shape \(4, 1\)"),
        (torch.tensor(1.0), r"of shape \(\)"),
        (torch.ones(3), r"of shape \(3,\)"),
        (0.5, "0.5"),
    ],
    ids=["outputs", "kept", "mean", "fewer", "number"],
)
def test_parts_have_one_number_for_each_sample(part: object, said: str) -> None:
    line = rf"^an objective's part 'b' is {said}; expected one number for each sample, \(4,\)[^\n]*$"
    with pytest.raises(InputError, match=line):
        Terms({"a": torch.ones(4), "b": part})  # type: ignore[dict-item]
    if isinstance(part, torch.Tensor) and part.dim() != 1:
        with pytest.raises(InputError, match=said):
            Terms({"b": part})


def test_no_parts() -> None:
    with pytest.raises(InputError, match=r"^an objective's Terms has no parts"):
        Terms({})


@pytest.mark.usefixtures("as_shipped")
def test_stacked_by_vmap(seed: int) -> None:
    """What a transform puts together holds more than one number for each sample, and is no objective's mistake."""
    x = torch.randn(3, 5)
    found = torch.vmap(lambda row: Terms({"a": row, "b": row.square()}))(x)
    torch.testing.assert_close(found.total, x + x.square())
