import pytest
import torch

from curvae.errors import InputError
from curvae.geometry import christoffel, pullback, riemann, sectional_curvature

D = torch.float64


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


FIRST, SECOND = torch.randn(3, 8, generator=gen(0), dtype=D), torch.randn(8, 6, generator=gen(1), dtype=D)


def sphere(z: torch.Tensor) -> torch.Tensor:
    return 1.5 * torch.stack([z[:, 0].sin() * z[:, 1].cos(), z[:, 0].sin() * z[:, 1].sin(), z[:, 0].cos()], dim=1)


def saddle(z: torch.Tensor) -> torch.Tensor:
    return torch.stack([z[:, 0], z[:, 1], z[:, 0] * z[:, 1]], dim=1)


def cylinder(z: torch.Tensor) -> torch.Tensor:
    return torch.stack([z[:, 0].cos(), z[:, 0].sin(), z[:, 1] + z[:, 0] ** 2], dim=1)


def embedding(z: torch.Tensor) -> torch.Tensor:
    """A generic smooth map from 3 latents to 6 outputs."""
    return torch.tanh(z @ FIRST) @ SECOND


def hyperbolic(z: torch.Tensor) -> torch.Tensor:
    return torch.eye(z.shape[1], dtype=D) / z[:, -1, None, None] ** 2


def points(dim: int = 2) -> torch.Tensor:
    return torch.rand(5, dim, generator=gen(2), dtype=D) + 0.3


def test_gaussian_curvature_of_known_surfaces() -> None:
    z = points()
    known = {
        sphere: torch.full((5,), 1 / 1.5**2, dtype=D),
        saddle: -1 / (1 + z.square().sum(1)) ** 2,
        cylinder: torch.zeros(5, dtype=D),
    }
    for surface, expected in known.items():
        measured = sectional_curvature(lambda z, surface=surface: pullback(surface, z), z)
        torch.testing.assert_close(measured, expected, rtol=1e-9, atol=1e-10)


def test_hyperbolic_space_has_curvature_minus_one_in_every_plane() -> None:
    u, v = torch.randn(2, 5, 3, generator=gen(3), dtype=D)
    measured = sectional_curvature(hyperbolic, points(3), u, v)
    torch.testing.assert_close(measured, torch.full((5,), -1.0, dtype=D))


def test_christoffel_symbols_against_the_embedding() -> None:
    # Γ^k_ij = G^kl ⟨∂_i∂_j g, ∂_l g⟩
    z = points(3)
    measured = christoffel(lambda z: pullback(embedding, z), z)
    for point, symbols in zip(z, measured, strict=True):
        j = torch.func.jacrev(lambda p: embedding(p[None])[0])(point)
        second = torch.func.hessian(lambda p: embedding(p[None])[0])(point)
        expected = torch.einsum("kl,nij,nl->kij", torch.linalg.inv(j.mT @ j), second, j)
        torch.testing.assert_close(symbols, expected, rtol=1e-9, atol=1e-9)


def test_riemann_tensor_against_the_equation_of_gauss() -> None:
    # R_lkij = ⟨II_li, II_kj⟩ − ⟨II_lj, II_ki⟩ with II the part of ∂∂g normal to the image
    z = points(3)
    measured = riemann(lambda z: pullback(embedding, z), z)
    for point, tensor in zip(z, measured, strict=True):
        j = torch.func.jacrev(lambda p: embedding(p[None])[0])(point)
        second = torch.func.hessian(lambda p: embedding(p[None])[0])(point)
        q = torch.linalg.qr(j)[0]
        normal = second - torch.einsum("nm,pm,pij->nij", q, q, second)
        product = torch.einsum("nli,nkj->lkij", normal, normal)
        torch.testing.assert_close(tensor, product - product.transpose(-1, -2), rtol=1e-8, atol=1e-8)


def test_symmetries_of_the_riemann_tensor() -> None:
    r = riemann(lambda z: pullback(embedding, z), points(3))
    torch.testing.assert_close(r, -r.transpose(3, 4))
    torch.testing.assert_close(r, -r.transpose(1, 2), rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(r, r.permute(0, 3, 4, 1, 2), rtol=1e-8, atol=1e-8)
    bianchi = r + r.permute(0, 1, 3, 4, 2) + r.permute(0, 1, 4, 2, 3)
    assert bianchi.abs().max() < 1e-8 * r.abs().max()


def test_curvature_does_not_depend_on_the_basis_of_the_plane() -> None:
    u, v = torch.randn(2, 5, 3, generator=gen(4), dtype=D)
    metric = lambda z: pullback(embedding, z)  # noqa: E731
    first = sectional_curvature(metric, points(3), u, v)
    torch.testing.assert_close(
        sectional_curvature(metric, points(3), 2 * u - v, u + 3 * v), first, rtol=1e-8, atol=1e-8
    )


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="give both"):
        sectional_curvature(hyperbolic, points(3))
    with pytest.raises(InputError, match="a plane needs d >= 2"):
        sectional_curvature(hyperbolic, points(1))


@pytest.mark.usefixtures("as_shipped")
def test_latents_of_several_axes_are_refused_in_one_line() -> None:
    for measure in (christoffel, riemann, sectional_curvature):
        with pytest.raises(InputError, match=r"z has shape \(5, 2, 1\); expected \[B, d\]: flatten latents"):
            measure(hyperbolic, points(2).unsqueeze(-1))


@pytest.mark.usefixtures("as_shipped")
def test_directions_that_are_no_plane_of_these_latents() -> None:
    z = points(3)
    u, v = torch.randn(2, len(z), 3, generator=gen(5), dtype=D)
    for first, second in ((u, 1.7 * u), (u, 0 * u), (u, torch.full_like(u, torch.nan))):
        with pytest.raises(InputError, match="u and v of sample 0 span no plane beyond rounding"):
            sectional_curvature(hyperbolic, z, first, second)
    for first, second, named in ((u[0], v, "u is torch.float64"), (u, v[:2], "v is"), (u, v.float(), "v is")):
        with pytest.raises(InputError, match=rf"{named}.*; expected a direction for each of the latents"):
            sectional_curvature(hyperbolic, z, first, second)
    one = sectional_curvature(hyperbolic, z, u[:1], v[:1])
    torch.testing.assert_close(one, -torch.ones(len(z), dtype=D))


@pytest.mark.usefixtures("as_shipped")
def test_what_returns_no_matrix_for_each_latent_is_no_metric() -> None:
    for measure in (christoffel, riemann, sectional_curvature):
        with pytest.raises(InputError, match=r"the metric returned shape \(2, 2\) for latents \(5, 2\)"):
            measure(lambda z: torch.eye(2).to(z), points(2))
