"""Every public object prints one line that says what it is: no addresses, no walls of numbers."""

import importlib
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal
from torch.distributions import Normal as Scalar

from curvae import (
    Autoencoder,
    curvature,
    data,
    geometry,
    identifiability,
    likelihoods,
    metrics,
    objectives,
    posteriors,
    runs,
)
from curvae._repr import OneLine
from curvae.conditioned import Conditioned
from curvae.unamortised import PosteriorsAt, Unamortised

MODULES = (curvature, data, geometry, identifiability, likelihoods, metrics, objectives, posteriors, runs)
BIG = torch.rand(300, 4)
PLAIN = likelihoods.Gaussian()


def network() -> Autoencoder:
    encoder = nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 9))
    return Autoencoder(encoder, nn.Sequential(nn.Linear(2, 4)), 2, structure=posteriors.Full())


def at() -> curvature.Linearised:
    model = network()
    return curvature.Linearised(model.decode, model.encode(BIG), BIG, PLAIN)


def estimate() -> curvature.PenaltyEstimate:
    return curvature.Columns(1).estimate(at(), posteriors.Diagonal(), 0.2, torch.Generator())


def free() -> Unamortised:
    return Unamortised(nn.Linear(2, 4), 2, posteriors.Full(), 300)


def evaluated() -> metrics.Evaluation:
    return metrics.evaluate(network(), BIG, 0.2, PLAIN, posteriors.Full(), generator=torch.Generator())


def factor(structure: posteriors.Structure) -> posteriors.Factor:
    return structure.factor(torch.zeros(300, structure.num_parameters(4)), 4)


def opened(path: Path) -> runs.Run:
    config = runs.RunConfig(data="x" * 100)
    split = {"kind": "seeded", "test_indices": list(range(1000))}
    return runs.Run(path, config, {"digest": "0" * 64, "shape": [4], "split": split}, {})


def curve() -> geometry.Geodesic:
    ends = BIG[:, :2].double()
    return geometry.geodesic(lambda z: z.diff(dim=1).square().sum((1, 2)), ends, ends + 1, nodes=4, iterations=2)


# what takes more than a name to make
MADE: dict[str, Callable[[], Any]] = {
    "curvature.Columns": lambda: curvature.Columns(2),
    "curvature.Coordinates": lambda: curvature.Coordinates(2),
    "curvature.Fraction": lambda: curvature.Fraction(curvature.Exact(), 0.125),
    "curvature.SampledColumns": lambda: estimate().sampled,
    "curvature.PenaltyEstimate": estimate,
    "curvature.Operator": lambda: curvature.Operator(network().decode, BIG[:, :2], BIG, PLAIN),
    "curvature.Signs": lambda: curvature.Signs(2),
    "curvature.Sphere": lambda: curvature.Sphere(2),
    "curvature.Linearised": at,
    "data.Samples": lambda: data.Samples([(BIG[0], 1)] * 300),
    "likelihoods.Masked": lambda: likelihoods.Masked(PLAIN),
    "likelihoods.Mixed": lambda: likelihoods.Mixed([(PLAIN, 2), (likelihoods.BernoulliLogits(), 1)]),
    "likelihoods.SizeFactors": lambda: likelihoods.SizeFactors(likelihoods.Poisson()),
    "posteriors.Along": lambda: posteriors.Along((2, 2), axis=0),
    "data.Batch": lambda: data.Batch(BIG, BIG[:, 0]),
    "data.Coding": lambda: data.Coding.of(("a",), {"a": BIG[:, 0].numpy()}, {"a": BIG[:, 0].numpy()}),
    "conditioned.Conditioned": lambda: Conditioned(network(), BIG),
    "data.Batches": lambda: data.Batches(BIG, 10, seed=0),
    "data.Dataset": lambda: data.Dataset("toy", BIG, BIG, {"test_indices": list(range(1000))}),
    "geometry.Geodesic": curve,
    "identifiability.Autoregressive": lambda: identifiability.Autoregressive(2, lambda z: Scalar(z.sum(-1), 1.0)),
    "identifiability.CorrelatedNormal": lambda: identifiability.CorrelatedNormal(
        MultivariateNormal(torch.zeros(40), torch.eye(40))
    ),
    "identifiability.Factorised": lambda: identifiability.Factorised(Scalar(torch.zeros(400), 1.0)),
    "curvature.LogDeterminant": lambda: curvature.log_determinant(
        curvature.Linearised(torch.sin, BIG, BIG, PLAIN), 0.2
    ),
    "identifiability.Mixing": lambda: identifiability.Mixing(
        identifiability.Factorised(Scalar(torch.zeros(40), 1.0)), torch.eye(40)
    ),
    "likelihoods.NegativeBinomial": lambda: likelihoods.NegativeBinomial(2.0),
    "likelihoods.StudentT": lambda: likelihoods.StudentT(4.0),
    "metrics.ActiveUnits": lambda: metrics.ActiveUnits(BIG[0], 0.01),
    "metrics.Estimate": lambda: metrics.Estimate(1.0, 0.1),
    "metrics.Evaluation": evaluated,
    "metrics.Examples": lambda: evaluated().examples,
    "metrics.Implied": lambda: metrics.Implied(network(), 0.2),
    "metrics.Likelihoods": lambda: metrics.Likelihoods(BIG[0], BIG[0], BIG[0], 3),
    "metrics.Mixture": lambda: metrics.fit_mixture(BIG[:, :2], 2),
    "objectives.GRAE": lambda: objectives.GRAE(beta=0.2),
    "objectives.RAE": lambda: objectives.RAE(0.2, 1.0),
    "objectives.BetaVAE": lambda: objectives.BetaVAE(beta=0.2),
    "objectives.Taylor": lambda: objectives.Taylor(beta=0.2),
    "objectives.Loss": lambda: objectives.Loss(network(), objectives.GRAE(beta=0.2)),
    "objectives.Terms": lambda: objectives.GRAE(beta=0.2)(network(), BIG),
    "posteriors.Banded": lambda: posteriors.Banded(1),
    "posteriors.BandedFactor": lambda: factor(posteriors.Banded(1)),
    "posteriors.BlockDiagonal": lambda: posteriors.BlockDiagonal(2),
    "posteriors.BlockFactor": lambda: factor(posteriors.BlockDiagonal(2)),
    "posteriors.DiagonalFactor": lambda: factor(posteriors.Diagonal()),
    "posteriors.Normal": lambda: network().posterior(BIG),
    "posteriors.Shared": lambda: posteriors.Shared(posteriors.Full()),
    "runs.Codes": lambda: runs.Codes(BIG, BIG.numpy()),
    "runs.Posteriors": lambda: runs.Posteriors(BIG, BIG, BIG),
    "runs.Run": lambda: opened(Path("runs") / "a"),
    "runs.RunConfig": lambda: runs.RunConfig(data="toy.npy"),
    "runs.Trained": lambda: runs.Trained(network(), PLAIN, posteriors.Full(), 0.2, (4,)),
    "curvae.Autoencoder": network,
    "unamortised.Unamortised": free,
    "unamortised.PosteriorsAt": lambda: PosteriorsAt(free(), torch.arange(100)),
}
# modes that are entered and not looked at, and functions over distributions
NOT_MADE = {"curvature.FixedStatistics", "identifiability.Pushforward"}


def public() -> list[str]:
    found = []
    for module in MODULES:
        room = module.__name__.removeprefix("curvae.")
        for name in module.__all__:
            kind = getattr(module, name)
            real = inspect.isclass(kind) and not inspect.isabstract(kind) and not getattr(kind, "_is_protocol", False)
            if real and f"{room}.{name}" not in NOT_MADE:
                found.append(f"{room}.{name}")
    return [*found, *(name for name in MADE if name not in found)]


@pytest.mark.parametrize("name", public())
def test_one_line(name: str) -> None:
    room, kind = name.split(".")
    made = MADE[name]() if name in MADE else getattr(importlib.import_module(f"curvae.{room}"), kind)()
    said = repr(made)
    assert "\n" not in said
    assert kind in said
    assert not any(wall in said for wall in (" at 0x", "object at", "tensor(", "array(", "<function"))
    assert len(said) < (1000 if kind == "RunConfig" else 300), said
    if isinstance(made, OneLine):
        assert made._repr_html_().startswith("<")


def test_a_run_says_what_it_is(tmp_path: Path) -> None:
    run = opened(tmp_path / "<b>")
    assert "objective='grae', beta=0.2, latents=12, steps=20000, state='not finished'" in repr(run)
    assert "&lt;b&gt;" in run._repr_html_()
    assert "<b>" not in run._repr_html_()


def test_a_line_tells_what_was_set_and_whose_class_it_is() -> None:
    class Own(posteriors.Diagonal):
        pass

    assert repr(Own()) == "Own()"
    plain = objectives.GRAE(0.2)
    assert repr(plain) == repr(plain.with_beta(0.2))
    for name in ("encoder_weight", "decoder_weight", "expansion", "orthogonality"):
        structure = posteriors.Diagonal()
        estimator = curvature.Columns(2) if name != "expansion" else curvature.Columns(1)
        own = objectives.GRAE(0.2, structure=structure, estimator=estimator, **{name: 0.2})
        assert f", {name}=0.2" in repr(own)
        assert name not in repr(objectives.GRAE(0.2, structure=structure, estimator=estimator))
