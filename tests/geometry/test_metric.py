import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli as TorchBernoulli
from torch.distributions import kl_divergence

from curvae import likelihoods, posteriors
from curvae.errors import InputError
from curvae.geometry import from_covariance, from_precision, log_magnification, log_magnification_of, pullback

D = torch.float64


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(latents: int = 3, outputs: int = 7, seed: int = 0) -> nn.Sequential:
    net = nn.Sequential(nn.Linear(latents, 9), nn.Tanh(), nn.Linear(9, outputs)).double()
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=gen(seed), dtype=D) * 0.7
    return net


def naive(decoder: nn.Module, z: torch.Tensor) -> torch.Tensor:
    jacobians = torch.stack([torch.func.jacrev(lambda p: decoder(p[None])[0])(point) for point in z])
    return jacobians.mT @ jacobians


def test_pullback_against_reverse_mode_with_gradients() -> None:
    decoder, z = network(), torch.randn(5, 3, generator=gen(1), dtype=D)
    torch.testing.assert_close(pullback(decoder, z), naive(decoder, z))
    torch.testing.assert_close(pullback(decoder, z, chunk_size=2), naive(decoder, z))
    weights = torch.randn(5, 3, 3, generator=gen(2), dtype=D)
    gradients = []
    for function in (pullback, naive):
        point = z.clone().requires_grad_()
        gradients.append(
            torch.autograd.grad((weights * function(decoder, point)).sum(), [point, *decoder[0].parameters()])
        )
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_image_shaped_outputs_are_flattened() -> None:
    decoder, z = network(), torch.randn(4, 3, generator=gen(1), dtype=D)
    shaped = nn.Sequential(decoder, nn.Unflatten(1, (7, 1)))
    torch.testing.assert_close(pullback(shaped, z), pullback(decoder, z))


def test_fisher_metric_is_the_second_order_of_the_divergence() -> None:
    # KL(p_z ‖ p_{z+δ}) = ½ δᵀGδ + o(δ²): G is the Hessian of the divergence
    decoder, z = network(), torch.randn(3, 3, generator=gen(1), dtype=D)

    def divergence(delta: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
        here, there = TorchBernoulli(logits=decoder(point)), TorchBernoulli(logits=decoder(point + delta))
        return kl_divergence(here, there).sum()

    expected = torch.stack([torch.func.hessian(divergence)(torch.zeros(3, dtype=D), point) for point in z])
    torch.testing.assert_close(pullback(decoder, z, likelihoods.BernoulliLogits()), expected)
    # the link belongs to the model or to the decoder: the same distribution, the same Fisher metric
    with_link = nn.Sequential(decoder, nn.Sigmoid())
    torch.testing.assert_close(pullback(with_link, z, likelihoods.Bernoulli()), expected)


def test_observation_model_at_data() -> None:
    decoder, z = nn.Sequential(network(), nn.Sigmoid()), torch.randn(3, 3, generator=gen(1), dtype=D)
    x = torch.bernoulli(torch.full((3, 7), 0.5, dtype=D), generator=gen(2))
    ours = pullback(decoder, z, likelihoods.Bernoulli(), x)
    for i in range(3):
        j = torch.func.jacrev(lambda p: decoder(p[None])[0])(z[i])
        torch.testing.assert_close(ours[i], j.mT @ ((1 - x[i] - decoder(z[i])) ** -2 * j.mT).mT)
    torch.testing.assert_close(pullback(decoder, z, likelihoods.Gaussian(sigma=0.5)), 4 * pullback(decoder, z))


def test_optimal_posterior_induces_the_pullback_metric() -> None:
    decoder, z, beta = network(), torch.randn(5, 3, generator=gen(1), dtype=D), 0.3
    metric = pullback(decoder, z)
    factor = posteriors.Full().optimal(metric, beta)
    torch.testing.assert_close(from_covariance(factor.covariance(), beta), metric, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(from_precision(factor.precision(), beta), metric, rtol=1e-9, atol=1e-9)
    # mean-field keeps the diagonal
    factor = posteriors.Diagonal().optimal(metric, beta)
    diagonal = torch.diag_embed(torch.diagonal(metric, dim1=1, dim2=2))
    torch.testing.assert_close(from_covariance(factor.covariance(), beta), diagonal, rtol=1e-9, atol=1e-9)


def test_nothing_is_clamped_for_a_posterior_wider_than_the_prior() -> None:
    metric = from_covariance(torch.diag(torch.tensor([2.0, 0.5], dtype=D))[None], 1.0)
    torch.testing.assert_close(metric, torch.diag(torch.tensor([-0.5, 1.0], dtype=D))[None])


def test_magnification_is_the_volume_of_the_decoded_cell() -> None:
    decoder, z = network(), torch.randn(6, 3, generator=gen(1), dtype=D)
    j = torch.stack([torch.func.jacrev(lambda p: decoder(p[None])[0])(point) for point in z])
    # the volume of a parallelepiped in D dimensions, by Gram–Schmidt
    expected = torch.linalg.qr(j).R.diagonal(dim1=1, dim2=2).abs().log().sum(-1)
    torch.testing.assert_close(log_magnification(pullback(decoder, z)), expected)
    torch.testing.assert_close(log_magnification_of(decoder, z), expected)


def test_magnification_at_the_edge() -> None:
    z = torch.randn(2, 3, generator=gen(1), dtype=D)
    # a Gram matrix would lose this one: condition number 1e12
    scales = torch.tensor([1e-12, 1.0, 1.0], dtype=D)
    rotate = torch.linalg.qr(torch.randn(3, 3, generator=gen(2), dtype=D))[0]
    assert log_magnification_of(lambda z: z * scales @ rotate, z)[0].item() == pytest.approx(-27.631021, rel=1e-4)
    dead = torch.tensor([0.0, 1.0, 1.0], dtype=D)
    assert (log_magnification_of(lambda z: z * dead, z) == -torch.inf).all()
    assert (log_magnification(pullback(lambda z: z * dead, z)) == -torch.inf).all()
    assert (log_magnification_of(lambda z: z[:, :2], z) == -torch.inf).all()


@pytest.mark.usefixtures("as_shipped")
def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match=r"^likelihood is 'bernoulli'; expected one of curvae.likelihoods"):
        pullback(lambda z: z, torch.zeros(1, 2), "bernoulli")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="beta is -1"):
        from_covariance(torch.eye(2)[None], -1.0)
    with pytest.raises(InputError, match="beta is 0"):
        from_precision(torch.eye(2)[None], 0.0)
    with pytest.raises(InputError, match=r"the covariances have shape \(3, 2\); expected square matrices"):
        from_covariance(torch.ones(3, 2), 0.5)
