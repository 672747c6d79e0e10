"""Latents of several axes against the same model with vectors: values, gradients and draws; nothing d × d unasked."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from curvae import Autoencoder, curvature, objectives, posteriors, regulariser
from curvae.curvature import Columns, Exact, Fraction, Lanczos, Signs, Trace
from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.posteriors import Along, BlockDiagonal, Diagonal, Full, Shared

pytestmark = pytest.mark.usefixtures("float64")

BETA, BATCH = 0.3, 4
MAPS, TOKENS = (2, 2, 3), (3, 4)


class Tokens(nn.Module):
    """``[B, 1, 4, 6]`` to ``[B, 3, F]``, one linear map for each patch."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.linear = nn.Linear(8, features)

    def forward(self, x: Tensor) -> Tensor:
        patches = x.unfold(2, 4, 4).unfold(3, 2, 2).flatten(1, 3).flatten(2)
        return torch.tanh(self.linear(patches))


def _decoder(shape: tuple[int, ...]) -> nn.Module:
    d = math.prod(shape)
    if shape == MAPS:
        return nn.Sequential(
            nn.ConvTranspose2d(2, 3, 2, 2), nn.BatchNorm2d(3), nn.SiLU(), nn.Conv2d(3, 1, 3, padding=1)
        )
    layers = nn.Linear(4, 5), nn.LayerNorm(5), nn.Tanh(), nn.Flatten(), nn.Linear(5 * d // 4, 24)
    return nn.Sequential(*layers, nn.Unflatten(1, (1, 4, 6)))


def _encoder(shape: tuple[int, ...], features: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, features, 2, 2), nn.Tanh()) if shape == MAPS else Tokens(features)


def _models(shape: tuple[int, ...], structure: posteriors.Structure | None) -> tuple[Autoencoder, Autoencoder]:
    """A model with latents of that shape, and the same one with vectors, of the very same parameters."""
    channels = shape[0] if shape == MAPS else shape[-1]
    axis = 1 if shape == MAPS else -1
    entries = 0
    if structure is not None and not isinstance(structure, Shared):
        entries = structure.num_parameters(math.prod(shape)) * channels // math.prod(shape)
    model = Autoencoder(_encoder(shape, channels + entries), _decoder(shape), shape, structure, head=False)

    class Split(nn.Module):
        """Means and entries of all positions as vectors."""

        def __init__(self) -> None:
            super().__init__()
            self.inner = model.encoder

        def forward(self, x: Tensor) -> Tensor:
            mean, rest = self.inner(x).split([channels, entries], axis)
            rest = rest.movedim(axis, -1) if isinstance(structure, Along) else rest
            return torch.cat([mean.flatten(1), rest.flatten(1)], 1)

    decoder = nn.Sequential(nn.Unflatten(1, shape), model.decoder)
    flat = Autoencoder(Split(), decoder, math.prod(shape), structure, head=False)
    if isinstance(structure, Shared):
        flat.factor_head = model.factor_head
    return model, flat


def _agree(
    objective: objectives.Objective, shape: tuple[int, ...], structure: posteriors.Structure | None, eval_mode: bool
) -> None:
    torch.manual_seed(0)
    model, flat = _models(shape, structure)
    model.train(not eval_mode), flat.train(not eval_mode)
    x = torch.rand(BATCH, 1, 4, 6)
    found = []
    for each in (model, flat):
        terms = objective(each, x, torch.Generator().manual_seed(1))
        gradients = torch.autograd.grad(terms.mean(), list(model.parameters()), allow_unused=True)
        found.append((dict(terms.parts), gradients))
    torch.testing.assert_close(found[0], found[1], rtol=1e-10, atol=1e-11)
    assert any(gradient is not None and gradient.abs().max() > 1e-6 for gradient in found[0][1])


def _grae(estimator: curvature.Estimator, structure: posteriors.Structure, **options: object) -> objectives.GRAE:
    return objectives.GRAE(BETA, Gaussian(0.5), structure, estimator, **options)  # type: ignore[arg-type]


DETERMINISTIC: dict[str, Callable[[tuple[int, ...]], objectives.Objective]] = {
    "exact full": lambda shape: _grae(Exact(), Full()),
    "exact diagonal": lambda shape: _grae(Exact(5), Diagonal()),
    "exact shared": lambda shape: _grae(Exact(), Shared(Full())),
    "columns": lambda shape: _grae(Columns(2), Diagonal()),
    "columns of blocks": lambda shape: _grae(Columns(2), BlockDiagonal(2)),
    "columns along": lambda shape: _grae(Columns(2), Along(shape, -1)),
    "pairs": lambda shape: _grae(Columns(2), Diagonal(), orthogonality=0.5),
    "fraction": lambda shape: _grae(Fraction(Columns(1), 0.5), Diagonal()),
    "lanczos": lambda shape: _grae(Lanczos(3, Signs(2)), Full()),
    "trace": lambda shape: objectives.RAE(BETA, trace=Trace(Signs(2))),
    "hessian": lambda shape: objectives.GRAE(50.0, Gaussian(), Diagonal(), curvature="hessian"),
}
VARIATIONAL: dict[str, objectives.Objective] = {
    "β-VAE": objectives.BetaVAE(BETA, samples=2),
    "Taylor": objectives.Taylor(BETA, Gaussian(0.5)),
    "Taylor, Hessian": objectives.Taylor(BETA, Gaussian(0.5), curvature="hessian"),
}


@pytest.mark.covering
@pytest.mark.parametrize("shape", [MAPS, TOKENS], ids=["maps", "tokens"])
@pytest.mark.parametrize("name", DETERMINISTIC)
@pytest.mark.filterwarnings("ignore:Trace is the penalty")
def test_deterministic_objectives(name: str, shape: tuple[int, ...]) -> None:
    _agree(DETERMINISTIC[name](shape), shape, None, eval_mode=name == "hessian")


@pytest.mark.covering
@pytest.mark.parametrize("shape", [MAPS, TOKENS], ids=["maps", "tokens"])
@pytest.mark.parametrize("structure", ["diagonal", "along", "shared"])
@pytest.mark.parametrize("name", VARIATIONAL)
def test_variational_objectives(name: str, structure: str, shape: tuple[int, ...]) -> None:
    axis = 0 if shape == MAPS else 1
    made = {"diagonal": Diagonal(), "along": Along(shape, axis), "shared": Shared(Full())}[structure]
    _agree(VARIATIONAL[name], shape, made, eval_mode=False)


@pytest.mark.parametrize("shape", [MAPS, TOKENS], ids=["maps", "tokens"])
def test_encode_decode_sample_and_posterior_keep_the_shape(shape: tuple[int, ...]) -> None:
    """With heads of the model's own, which are one linear map for all positions."""
    for structure in (Diagonal(), Along(shape, 0 if shape == MAPS else 1), Shared(Diagonal())):
        model = Autoencoder(_encoder(shape, 7), _decoder(shape), shape, structure)
        x = torch.rand(BATCH, 1, 4, 6)
        assert model.encode(x).shape == (BATCH, *shape)
        assert model.reconstruct(x).shape == x.shape
        assert model.sample(3).shape == (3, *x.shape[1:])
        q = model.posterior(x)
        z = q.rsample(torch.Generator().manual_seed(0), (2,))
        assert z.shape == (2, BATCH, *shape)
        expected = torch.distributions.MultivariateNormal(q.mean.flatten(1), q.covariance())
        torch.testing.assert_close(q.log_prob(z), expected.log_prob(z.flatten(2)))
        prior = torch.distributions.MultivariateNormal(torch.zeros(12), torch.eye(12))
        torch.testing.assert_close(q.kl(), torch.distributions.kl_divergence(expected, prior))
        torch.testing.assert_close(q.precision(), q.covariance().inverse())
    heads = [model.mean_head, Autoencoder(_encoder(shape, 7), _decoder(shape), shape, Diagonal()).factor_head]
    channels = shape[0] if shape == MAPS else shape[1]
    assert all(isinstance(head, nn.Linear) and head.weight.shape == (channels, 7) for head in heads)


def test_products_and_jacobians_have_the_latents_shape() -> None:
    decoder, z, x = _decoder(MAPS).eval(), torch.randn(BATCH, *MAPS), torch.rand(BATCH, 1, 4, 6)
    jacobian = curvature.jacobian(decoder, z)
    assert jacobian.shape == (BATCH, 1, 4, 6, *MAPS)
    expected = torch.stack([torch.func.jacrev(lambda p: decoder(p[None])[0])(point) for point in z])
    torch.testing.assert_close(jacobian, expected)
    dense = expected.flatten(4).flatten(1, 3)
    m = curvature.gauss_newton(decoder, z, x, Gaussian())
    torch.testing.assert_close(m, dense.mT @ dense)
    v = torch.randn(BATCH, *MAPS, 2)
    product = curvature.Operator(decoder, z, x, Gaussian())(v)
    torch.testing.assert_close(product.flatten(1, 3), m @ v.flatten(1, 3))


def test_along_is_blocks_in_another_order() -> None:
    root = torch.randn(2, 7, 12)
    for shape, axis in ((MAPS, 0), (MAPS, 1), (TOKENS, 1), (TOKENS, -2)):
        along, size = Along(shape, axis), shape[axis]
        groups = torch.arange(12).view(shape).movedim(axis, 0).flatten(1).mT
        expected = sum(
            torch.logdet(torch.eye(size) + root[..., group].mT @ root[..., group] / BETA) for group in groups
        )
        m = root.mT @ root
        torch.testing.assert_close(along.penalty_of_root(root, BETA), expected)
        torch.testing.assert_close(along.penalty(m, BETA), expected)
        best = along.optimal(m, BETA)
        torch.testing.assert_close(-best.log_det(), expected)
        torch.testing.assert_close(best.precision(), torch.eye(12) + along.restrict(m) / BETA)
        torch.testing.assert_close(best.covariance(), (torch.eye(12) + along.restrict(m) / BETA).inverse())
        torch.testing.assert_close(best.trace(), best.covariance().diagonal(0, 1, 2).sum(1))
        zeros = along.factor(torch.zeros(1, along.num_parameters(12)), 12)
        torch.testing.assert_close(zeros.covariance(), torch.eye(12)[None])


def test_columns_are_unbiased_along_an_axis() -> None:
    torch.manual_seed(0)
    decoder, z, x = _decoder(TOKENS), torch.randn(1, *TOKENS), torch.rand(1, 1, 4, 6)
    along = Along(TOKENS, 0)
    many = curvature.Linearised(decoder, z.expand(400, -1, -1), x.expand(400, -1, -1, -1), Gaussian())
    values = Columns(1).estimate(many, along, BETA, torch.Generator().manual_seed(0)).value.unique().detach()
    # one term for each of the four positions, each as likely as the other
    exact = Exact().penalty(curvature.Linearised(decoder, z, x, Gaussian()), along, BETA)[1]
    distinct = torch.stack(sorted({round(float(value), 8): value for value in values}.values()))
    assert len(distinct) == 4
    torch.testing.assert_close(distinct.mean()[None], exact.detach())


class _Largest(TorchDispatchMode):
    """The largest tensor that anything returns."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        output = func(*args, **(kwargs or {}))
        for value in torch.utils._pytree.tree_leaves(output):
            if isinstance(value, Tensor):
                self.elements = max(self.elements, value.untyped_storage().nbytes() // 4)
        return output


@pytest.mark.parametrize(
    "objective",
    [
        objectives.BetaVAE(BETA),
        objectives.GRAE(BETA, structure=Diagonal(), estimator=Columns(2), orthogonality=0.1),
        objectives.GRAE(BETA, structure=Diagonal(), estimator=Fraction(Columns(1), 0.5)),
        objectives.GRAE(BETA, structure=Along((4, 32, 32), 0), estimator=Columns(1)),
        objectives.GRAE(BETA, structure=Full(), estimator=Lanczos(2, Signs(1))),
        objectives.RAE(BETA, trace=Trace(Signs(1))),
    ],
    ids=["beta-vae", "columns", "fraction", "along", "lanczos", "rae"],
)
@pytest.mark.filterwarnings("ignore:Trace is the penalty")
def test_nothing_of_size_d_times_d_for_4096_latents(objective: objectives.Objective) -> None:
    torch.set_default_dtype(torch.float32)
    shape = (4, 32, 32)
    encoder, decoder = nn.Conv2d(1, 3, 1), nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh(), nn.Conv2d(4, 1, 1))
    model = Autoencoder(encoder, decoder, shape, Diagonal())
    x = torch.rand(2, 1, 32, 32)
    objective(model, x, torch.Generator().manual_seed(0))  # the first use is looked at, once
    with _Largest() as largest:
        objective(model, x, torch.Generator().manual_seed(0)).mean().backward()
    assert 4096 < largest.elements < 4096**2 // 100


@pytest.mark.parametrize(
    ("latents", "structure", "match"),
    [
        ((), None, "latents has no axes"),
        ((4, 0), None, "latents"),
        (MAPS, Full(), "expected Diagonal"),
        (MAPS, Along(MAPS, 1), r"Along\(\(2, 2, 3\), axis=0\)"),
        (TOKENS, BlockDiagonal(4), r"Along\(\(3, 4\), axis=1\)"),
    ],
)
def test_what_does_not_fit_is_refused(latents: tuple[int, ...], structure: posteriors.Structure, match: str) -> None:
    with pytest.raises(InputError, match=rf"^[^\n]*{match}[^\n]*$"):
        Autoencoder(nn.Conv2d(1, 4, 2, 2), nn.Identity(), latents, structure)


@pytest.mark.parametrize("structure", [Diagonal(), Along((3, 2, 1), 0)])
def test_maps_of_one_axis(structure: posteriors.Structure) -> None:
    """Sound, channels first, as the docstring says: the heads mix channels and not times."""
    encoder = nn.Sequential(nn.Conv1d(1, 5, 4, 4), nn.Unflatten(2, (2, 1)))
    decoder = nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(3, 1, 4, 4))
    model, x = Autoencoder(encoder, decoder, (3, 2, 1), structure), torch.randn(4, 1, 8)
    z = model.encode(x)
    assert torch.allclose(
        z[..., 0], torch.einsum("cf,bft->bct", model.mean_head.weight, encoder[0](x)) + model.mean_head.bias[:, None]
    )
    later = x.clone()
    later[..., 4:] += 1
    assert torch.equal(model.encode(later)[:, :, 0], z[:, :, 0])
    assert objectives.BetaVAE(BETA)(model, x).total.shape == (4,)


def test_a_map_of_another_shape_is_told() -> None:
    model = Autoencoder(nn.Conv2d(1, 4, 2), nn.Identity(), MAPS)
    with pytest.raises(InputError, match=r"^the encoder's features have shape \(1, 4, 3, 5\); expected \[B, 4, 2, 3\]"):
        model.encode(torch.zeros(1, 1, 4, 6))
    tokens = Autoencoder(nn.Conv1d(1, 6, 4, 4), nn.Identity(), (3, 2), Diagonal(), head=False)
    with pytest.raises(InputError, match=r"these are tokens × features, maps \[B, C, T\] have latents \(C, T, 1\)$"):
        tokens.posterior(torch.zeros(1, 1, 8))
    with pytest.raises(InputError, match=r"^axis is 3; expected -3 … 2"):
        Along(MAPS, 3)
    with pytest.raises(InputError, match=r"is for 12 latents; got 11"):
        Along(MAPS, 0).penalty(torch.eye(11)[None], BETA)
    for estimator in (Columns(1), Fraction(Columns(1), 0.5), Exact()):  # of few latents chance may miss what is outside
        with pytest.raises(InputError, match=r"^Along\(\(2, 2, 3\), axis=0\) is for 12 latents; got 11$"):
            regulariser(nn.Linear(11, 5), torch.randn(1, 11), BETA, structure=Along(MAPS, 0), estimator=estimator)
