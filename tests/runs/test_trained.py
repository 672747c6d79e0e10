"""What one does with a trained model, against one sample at a time in plain PyTorch."""

import copy
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.curvature import unchecked
from curvae.errors import InputError
from curvae.geometry import length
from curvae.likelihoods import BernoulliLogits, Gaussian, Likelihood, Masked, Poisson
from curvae.metrics import codes, fit_mixture
from curvae.posteriors import Along, Banded, BlockDiagonal, Diagonal, Full, Shared, Structure
from curvae.runs import Codes, Run, Trained
from curvae.runs.given import Given

SHAPE = (1, 4, 3)
STRUCTURES = (Diagonal(), BlockDiagonal(2), Banded(1), Full())


def trained(
    structure: Structure | None = None, likelihood: Likelihood | None = None, white: int | None = None, d: int = 3
) -> Trained:
    """In double precision; with a structure, a posterior of its own."""
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.BatchNorm1d(7))
    decoder = nn.Sequential(nn.Linear(d, 8), nn.Tanh(), nn.Linear(8, 12), nn.Unflatten(1, SHAPE))
    encoder[-1].running_mean.normal_()
    model = Autoencoder(encoder, decoder, d, structure).double().eval()
    return Trained(model, likelihood or Gaussian(0.5), structure or Full(), 0.2, SHAPE, white)


def images(count: int = 5) -> torch.Tensor:
    return torch.rand(count, *SHAPE, dtype=torch.float64)


def curvature(model: Autoencoder, likelihood: Likelihood, x: torch.Tensor) -> torch.Tensor:
    """M of one sample as the Hessian's first term, by reverse mode and with the matrix in the middle."""
    h = model.encode(x[None])
    jacobian = torch.func.jacrev(lambda z: model.decode(z).flatten())(h).reshape(12, -1)
    eta = model.decode(h)
    flat = torch.func.hessian(lambda e: likelihood.nll(e.reshape(eta.shape), x[None])[0])(eta.flatten())
    return (jacobian.T @ flat @ jacobian).detach()


@pytest.mark.parametrize("structure", STRUCTURES, ids=repr)
@pytest.mark.parametrize("likelihood", [Gaussian(0.5), BernoulliLogits()], ids=repr)
def test_a_deterministic_model_has_the_best_covariance(structure: Structure, likelihood: Likelihood) -> None:
    tool, x = trained(likelihood=likelihood), images()
    found = tool.encode(x, covariance=True, structure=structure)
    for row, one in enumerate(x):
        best = structure.optimal(curvature(tool.model, likelihood, one)[None], 0.2).covariance()[0]
        torch.testing.assert_close(found.covariance[row], best, rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(found.std[row], best.diagonal().sqrt(), rtol=1e-7, atol=1e-9)
        torch.testing.assert_close(found.mean[row], tool.model.encode(one[None])[0])


def test_the_full_one_is_the_inverse_of_one_plus_the_curvature() -> None:
    tool, x = trained(), images(2)
    for row, one in enumerate(x):
        expected = torch.linalg.inv(torch.eye(3).double() + curvature(tool.model, tool.likelihood, one) / 0.2)
        torch.testing.assert_close(tool.encode(x, covariance=True).covariance[row], expected)


@pytest.mark.parametrize("structure", [*STRUCTURES, Shared(Full())], ids=repr)
def test_a_posterior_of_ones_own_is_given(structure: Structure) -> None:
    tool, x = trained(structure), images()
    q = tool.model.posterior(x)
    mean, std, covariance = tool.encode(x, covariance=True)
    torch.testing.assert_close(mean, q.mean)
    torch.testing.assert_close(covariance, q.factor.dense() @ q.factor.dense().mT)
    torch.testing.assert_close(std.square(), covariance.diagonal(dim1=-2, dim2=-1))
    other = tool.encode(x, covariance=True, structure=Full()).covariance
    assert not torch.allclose(other, covariance)


def test_a_shared_covariance_is_that_of_the_mean_curvature_of_all() -> None:
    tool, x = trained(), images(7)
    mean = torch.stack([curvature(tool.model, tool.likelihood, one) for one in x]).mean(0)
    expected = torch.linalg.inv(torch.eye(3).double() + mean / 0.2)
    for size in (2, 7):
        found = tool.encode(x, covariance=True, structure=Shared(Full()), batch_size=size).covariance
        torch.testing.assert_close(found, expected.expand(7, 3, 3))


@pytest.mark.parametrize("structure", [None, Diagonal()], ids=repr)
def test_no_answer_depends_on_the_batches(structure: Structure | None) -> None:
    tool, x = trained(structure), images(6)
    for whole, parts in (
        (tool.encode(x).std, tool.encode(x, batch_size=4).std),
        (tool.reconstruct(x), tool.reconstruct(x, batch_size=1)),
        (tool.interpolate(x, x.flip(0)), tool.interpolate(x, x.flip(0), batch_size=4)),
        (tool.traverse(x), tool.traverse(x, batch_size=5)),
    ):
        torch.testing.assert_close(whole, parts)


def test_outputs_are_expected_observations() -> None:
    tool, x = trained(likelihood=BernoulliLogits()), images()
    h = tool.model.encode(x)
    torch.testing.assert_close(tool.reconstruct(x), tool.model.decode(h).sigmoid())
    line = torch.stack([h + share * (h.flip(0) - h) for share in (0, 0.25, 0.5, 0.75, 1)], 1)
    expected = torch.stack([tool.model.decode(z).sigmoid() for z in line])
    torch.testing.assert_close(tool.interpolate(x, x.flip(0), 5), expected)
    moved = tool.traverse(x, latents=[2, 0], values=[-1.5, 0.5])
    assert moved.shape == (5, 2, 2, *SHAPE)
    z = h.clone()
    z[:, 2] = 0.5
    torch.testing.assert_close(moved[:, 0, 1], tool.model.decode(z).sigmoid())
    from_prior = tool.traverse(values=[1.0])
    torch.testing.assert_close(
        torch.from_numpy(from_prior[0, :, 0]), tool.model.decode(torch.eye(3).double()).sigmoid()
    )


class Sphere(nn.Module):
    """From angles to a point of the unit sphere, four times over."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        polar, azimuth = z[:, 0], z[:, 1]
        x, y = polar.sin() * azimuth.cos(), polar.sin() * azimuth.sin()
        return torch.stack([x, y, polar.cos()], 1).repeat(1, 4).unflatten(1, SHAPE)


class FirstTwo(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :2]


def test_geodesics_of_a_sphere_are_arcs() -> None:
    model = Autoencoder(FirstTwo(), Sphere(), 2, features=2)
    tool = Trained(model.double().eval(), Gaussian(), Full(), 0.2, SHAPE)
    a, b = torch.full((1, *SHAPE), 0.5).double(), torch.full((1, *SHAPE), 0.5).double()
    b.flatten()[1] = 2.5
    straight, short = (tool.interpolate(a, b, 33, geodesic=way) for way in (False, True))
    torch.testing.assert_close(straight[:, [0, -1]], short[:, [0, -1]])
    ends = short.flatten(2)[0, [0, -1]] / 2  # four times over is twice as long
    angle = torch.linalg.vecdot(ends[0], ends[1]).acos()
    lengths = [length(lambda z: z, way.flatten(2) / 2).item() for way in (straight, short)]
    assert lengths[1] == pytest.approx(angle.item(), rel=1e-3)
    assert lengths[0] == pytest.approx(2 * math.sin(0.5), rel=1e-2)  # along the parallel


def test_samples_are_decoded_draws() -> None:
    tool = trained()
    draws = torch.randn(300, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    found = tool.sample(300, seed=4)
    # in the second batch the stream has gone on
    np.testing.assert_allclose(found[:256], tool.model.decode(draws[:256]).detach().numpy())
    assert np.array_equal(found, tool.sample(300, seed=4))
    assert not np.array_equal(found, tool.sample(300, seed=5))
    density = fit_mixture(codes(tool.model, images(50)), 2)
    z = density.sample(7, torch.Generator().manual_seed(1)).double()
    np.testing.assert_allclose(tool.sample(7, seed=1, density=density), tool.model.decode(z).detach().numpy())


KINDS: dict[str, Any] = {
    "array": lambda x: x.numpy(),
    "float32": lambda x: x.float().numpy(),
    "list": lambda x: x.tolist(),
    "backwards": lambda x: np.ascontiguousarray(x.numpy()[..., ::-1])[..., ::-1],
    "no channel": lambda x: x[:, 0].numpy(),
    "channel last": lambda x: x.movedim(1, -1).numpy(),
    "tensor": lambda x: x,
    "tensor without a channel": lambda x: x[:, 0],
}


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_of_the_kind_and_layout_that_was_given(kind: str) -> None:
    tool, x = trained(Full()), images()
    given = KINDS[kind](x)
    mean, std = tool.encode(given)
    rebuilt, ways = tool.reconstruct(given), tool.interpolate(given, given, 4)
    moved = tool.traverse(given, values=[0.0])
    type_ = torch.Tensor if "tensor" in kind else np.ndarray
    assert all(isinstance(found, type_) for found in (mean, std, rebuilt, ways, moved))
    assert rebuilt.shape == np.shape(given)
    assert ways.shape == (5, 4, *rebuilt.shape[1:])
    assert moved.shape == (5, 3, 1, *rebuilt.shape[1:])
    np.testing.assert_allclose(np.asarray(mean), tool.model.encode(x).detach(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.asarray(rebuilt).ravel(), tool.reconstruct(x).ravel(), rtol=1e-5, atol=1e-6)


def test_colours_may_come_last() -> None:
    x = torch.rand(2, 3, 5, 4)
    given = Given(x.movedim(1, -1).numpy(), (3, 5, 4))
    (taken,) = given.batches(9, torch.zeros(()))
    assert torch.equal(taken, x)
    assert np.array_equal(given.answer(x, of_data=True), x.movedim(1, -1).numpy())
    with pytest.raises(InputError, match=r"x has shape \(3, 5, 4\); the model takes .* x\[None\] for a single"):
        Given(x[0], (3, 5, 4))


def test_bytes_are_the_numbers_that_they_mean() -> None:
    tool = trained(white=255)
    pixels = torch.randint(0, 256, (5, *SHAPE), dtype=torch.uint8)
    for given in (pixels, pixels.numpy()):
        expected = tool.model.encode((pixels.float() / 255).double()).detach()
        np.testing.assert_allclose(np.asarray(tool.encode(given).mean), expected)
    dark = torch.ones(2, *SHAPE, dtype=torch.uint8)
    torch.testing.assert_close(tool.encode(dark).mean, tool.encode(dark.float() / 255).mean)


def test_masks_are_taken_as_bits_where_the_model_has_seen_masks() -> None:
    tool, bits = trained(white=1), torch.randint(0, 2, (5, *SHAPE), dtype=torch.uint8)
    for given in (bits, 255 * bits, bits.bool(), bits.float()):
        torch.testing.assert_close(tool.encode(given).mean, tool.model.encode(bits.double()))


def test_bytes_of_a_model_that_has_not_seen_bytes() -> None:
    counts, bits = torch.randint(0, 9, (5, *SHAPE)), torch.randint(0, 2, (5, *SHAPE))
    tool = trained(likelihood=Poisson())
    torch.testing.assert_close(tool.encode(counts.int()).mean, tool.model.encode(counts.double()))
    for call in (tool.encode, tool.reconstruct, tool.traverse, lambda x: tool.interpolate(x, x)):
        with pytest.raises(InputError, match=r"(x|a): the data have .*Poisson.* holds bytes, which are pixels and div"):
            call(counts.byte())
    with unchecked():
        assert tool.encode(counts.byte()).mean.shape == (5, 3)
    for values in (counts + 0.5, -counts - 1):
        with pytest.raises(InputError, match=r"x: the data have .* counts 0, 1, 2, …"):
            tool.encode(values.double())
    tool = trained(likelihood=BernoulliLogits())
    assert torch.equal(tool.encode(255 * bits.byte()).mean, tool.encode(bits.bool()).mean)
    with pytest.raises(InputError, match="x holds bytes of 0 and 1 alone"):
        tool.encode(bits.byte())


class Row:
    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.zeros((2, 12))


REFUSED: dict[str, tuple[Any, str]] = {
    "another shape": (np.zeros((5, 4, 4)), r"x has shape \(5, 4, 4\); the model takes \[N, 1, 4, 3\]"),
    "rows": (Row(), r"x has shape \(2, 12\)"),
    "no axis": (np.float64(3), r"has shape \(\); the model takes"),
    "none": (np.zeros((0, *SHAPE)), "holds no samples"),
    "nan": (torch.cat([images(300), images(1) * math.nan]), "sample 300 holds NaN"),
    "another scale": (255 * images() + 1, "expected 0 to 1"),
    "counts": (torch.full((2, *SHAPE), 9), "expected 0 to 1"),
    "text": (np.full((2, *SHAPE), "a"), "<U1 values"),
    "none at all": (None, "NoneType"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_used_is_refused_in_one_line(name: str) -> None:
    given, said = REFUSED[name]
    tool = trained(Diagonal(), white=255)
    calls = [tool.encode, tool.reconstruct, lambda x: tool.interpolate(x, x)]
    for call in (*calls, tool.traverse) if given is not None else calls:
        with pytest.raises(InputError, match=said.replace("x has", "(x|a) has")) as caught:
            call(given)
        assert "\n" not in str(caught.value)


def test_what_is_missing_goes_to_the_encoder_of_a_masked_model() -> None:
    plain = trained(Diagonal())
    encoder = nn.Sequential(Zeros(), plain.model.encoder)
    model = Autoencoder(encoder, plain.model.decoder, 3, Diagonal(), features=7).double().eval()
    model.load_state_dict({name.replace("encoder.", "encoder.1."): w for name, w in plain.model.state_dict().items()})
    tool, x = Trained(model, Masked(Gaussian()), Diagonal(), 0.2, SHAPE), images(3)
    holes = torch.where(x > 0.5, torch.nan, x)
    torch.testing.assert_close(tool.encode(holes).mean, plain.encode(holes.nan_to_num(0)).mean)
    with pytest.raises(InputError, match="sample 0 holds NaN"):
        plain.encode(holes)


class Zeros(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.nan_to_num(0)


def test_settings_are_refused_in_one_line() -> None:
    tool, x = trained(), images(2)
    single = replace(tool, model=copy.deepcopy(tool.model).float())
    for call, said in (
        (lambda: tool.encode(x, batch_size=0), "batch_size is 0"),
        (lambda: tool.interpolate(x, x[:1]), "a holds 2 samples and b 1"),
        (lambda: tool.interpolate(x, x, 1), "steps is 1; expected at least 2"),
        (lambda: tool.interpolate(x, x, 2, geodesic=True), "steps is 2; expected at least 3"),
        (lambda: tool.traverse(x, latents=[3]), "latents has 3; expected whole numbers from 0 to 2"),
        (lambda: tool.traverse(x, latents=[]), "latents is empty"),
        (lambda: tool.traverse(x, values=[math.nan]), "values has nan"),
        (lambda: single.traverse(values=[1e40]), "values has 1e\\+40; expected finite numbers of float32"),
        (lambda: tool.traverse(x, values=[]), "values is empty"),
        (lambda: tool.sample(0), "n is 0"),
        (lambda: tool.sample(1, seed=-1), "seed is -1"),
    ):
        with pytest.raises(InputError, match=said):
            call()  # type: ignore[no-untyped-call]


def test_a_model_that_has_diverged_is_noticed() -> None:
    tool = trained()
    nn.init.constant_(tool.model.decoder[2].bias, math.inf)
    with pytest.raises(InputError, match="are not finite"):
        tool.reconstruct(images())
    with pytest.raises(InputError, match="are not finite"):
        tool.traverse()


def test_a_run_does_all_that(finished: Run) -> None:
    data = finished.dataset()
    mean, std = finished.encode(data.test)
    q = finished.model().posterior(data.test)
    torch.testing.assert_close(mean, q.mean)
    torch.testing.assert_close(std.square(), q.covariance().diagonal(dim1=-2, dim2=-1))
    assert isinstance(finished.encode(data.test.numpy()), Codes)
    assert finished.encode(data.test, covariance=True).covariance.shape == (6, 3, 3)
    assert finished.reconstruct(data.test.double().numpy()).dtype == np.float32
    assert finished.interpolate(data.test[:2], data.test[2:4], 5, geodesic=True).shape == (2, 5, 6)
    assert finished.traverse(latents=[1], values=[0.0]).shape == (1, 1, 1, 6)
    assert finished.sample(3, seed=1).shape == (3, 6)
    assert not np.array_equal(finished.sample(3, seed=1), finished.sample(3, seed=1, mixture=2))
    with pytest.raises(InputError, match="seed is -1"):
        finished.sample(3, seed=-1, mixture=2)


@pytest.mark.parametrize("structure", [None, Along((2, 2, 1), 0)], ids=repr)
def test_latents_may_have_axes(structure: Structure | None) -> None:
    """The same as for a model that has them in a row."""
    flat = trained(d=4)
    decoder = nn.Sequential(nn.Flatten(), flat.model.decoder)
    encoder = nn.Sequential(flat.model.encoder, flat.model.mean_head, nn.Unflatten(1, (2, 2, 1)))
    model = Autoencoder(encoder, decoder, (2, 2, 1), head=False).eval()
    tool, x = Trained(model, flat.likelihood, Full(), 0.2, SHAPE), images(4)
    found, expected = (each.encode(x, covariance=True, structure=structure) for each in (tool, flat))
    assert found.std.shape == (4, 2, 2, 1)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.flatten(), other.flatten())
    torch.testing.assert_close(tool.reconstruct(x), flat.reconstruct(x))
    torch.testing.assert_close(tool.interpolate(x, x.flip(0), 5), flat.interpolate(x, x.flip(0), 5))
    ways = [each.interpolate(x, x.flip(0), 5, geodesic=True) for each in (tool, flat)]
    torch.testing.assert_close(*ways, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(tool.traverse(x, latents=[3]), flat.traverse(x, latents=[3]))
    np.testing.assert_allclose(tool.traverse(), flat.traverse())
    np.testing.assert_allclose(tool.sample(3, seed=1), flat.sample(3, seed=1))
    own, other = tool.precisions(x), flat.precisions(x)
    torch.testing.assert_close(own, other)
