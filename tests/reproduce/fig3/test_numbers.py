"""Figure 3's values against the objectives themselves, the gap's formula, and summaries against NumPy."""

import numpy as np
import pytest
import torch
from torch import nn

from curvae import Autoencoder
from curvae.curvature import gauss_newton, hessian
from curvae.errors import InputError
from curvae.likelihoods import Gaussian
from curvae.objectives import GRAE, Taylor
from curvae.posteriors import BlockDiagonal, Diagonal, Full, Structure
from curvae.reproduce.fig3.config import Curves
from curvae.reproduce.fig3.numbers import Measure, MeasuredRun, Point, formula_error, measure, runs, summarise
from curvae.reproduce.fig3.picture import plot, sizes
from curvae.reproduce.sweep.launch import Local
from curvae.reproduce.sweep.mnist import milestones
from curvae.reproduce.sweep.sweep import sweep
from curvae.reproduce.sweep.training import TrainingSettings

BETA = 0.3


def model(structure: Structure, decoder: nn.Module) -> Autoencoder:
    return Autoencoder(nn.Linear(6, 5), decoder, latents=4, structure=structure)


def elu() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 7), nn.ELU(), nn.Linear(7, 6))


@pytest.mark.parametrize("structure", [Diagonal(), BlockDiagonal(2), BlockDiagonal(3), Full()], ids=str)
def test_values_are_those_of_the_objectives_and_the_gap_is_the_formulas(
    structure: Structure, float64: None, seed: int
) -> None:
    one, x = model(structure, elu()), torch.randn(9, 6)
    found = Measure(BETA, Gaussian(), structure, draws=2)(one, x, torch.Generator(), batch_size=4)
    with torch.no_grad():
        torch.testing.assert_close(found["taylor"], Taylor(BETA)(one, x).total)
        torch.testing.assert_close(found["grae"], GRAE(BETA)(one, x).total)
        torch.testing.assert_close(found["grae_family"], GRAE(BETA, structure=structure)(one, x).total)
        q = one.posterior(x)
        product = (torch.eye(4) + gauss_newton(one.decode, q.mean, x, Gaussian()) / BETA) @ q.covariance()
        gap = 0.5 * BETA * (product.diagonal(dim1=1, dim2=2).sum(1) - product.det().log() - 4)
    torch.testing.assert_close(found["taylor"] - found["grae"], gap)
    torch.testing.assert_close(found["gap"], gap)
    assert (found["gap"] > 0).all()
    assert (found["grae_family"] >= found["grae"] - 1e-12).all()


@pytest.mark.slow
def test_pairs_of_draws_are_exact_for_a_linear_decoder_on_average(float64: None) -> None:
    """(2) is (7) for a linear decoder; pairs ±ε leave the second order alone, whose mean is the trace."""
    torch.manual_seed(0)  # 10 000 pairs know the trace to 1.4 % of it for the worst weights
    one, x = model(BlockDiagonal(2), nn.Linear(4, 6)), torch.randn(3, 6)
    found = Measure(BETA, Gaussian(), BlockDiagonal(2), draws=20_000)(one, x, torch.Generator().manual_seed(0))
    torch.testing.assert_close(found["beta_vae"], found["taylor"], rtol=0.01, atol=0)


def test_pairs_of_draws_are_the_nll_at_mirrored_points(float64: None) -> None:
    one, x = model(Full(), elu()), torch.randn(5, 6)
    found = Measure(BETA, Gaussian(), Full(), draws=2)(one, x, torch.Generator().manual_seed(3))
    with torch.no_grad():
        q = one.posterior(x)
        noise = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
        points = [q.mean + sign * (q.factor.dense() @ noise[..., None])[..., 0] for sign in (1, -1)]
        nlls = [0.5 * (x - one.decode(z)).square().sum(-1) for z in points]
        expected = 0.5 * (nlls[0] + nlls[1]) + BETA * q.kl()
    torch.testing.assert_close(found["beta_vae"], expected)


def test_exact_values_are_those_of_the_objectives_where_they_exist(float64: None, seed: int) -> None:
    one, x = model(BlockDiagonal(2), elu()), torch.randn(8, 6)
    found = Measure(2.0, Gaussian(), BlockDiagonal(2), draws=2).exact(one, x, batch_size=3)
    with torch.no_grad():
        torch.testing.assert_close(found["taylor"], Taylor(2.0, curvature="hessian")(one, x).total)
        exists = torch.linalg.eigvalsh(torch.eye(4) - hessian(one.decode, one.encode(x), x, Gaussian()) / 2)[:, 0] > 0
        torch.testing.assert_close(~found["grae"].isnan(), exists)
        assert exists.any()
        expected = GRAE(2.0, curvature="hessian")(one, x[exists]).total
    torch.testing.assert_close(found["grae"][exists], expected)


def test_where_10_does_not_exist_it_is_nan(float64: None) -> None:
    class Square(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z.square()

    one = Autoencoder(nn.Linear(2, 3), Square(), latents=2, structure=Diagonal())
    with torch.no_grad():
        one.mean_head.weight.zero_()
        one.mean_head.bias.fill_(0.5)  # −H = 4 z² + 2 (z² − x) = 1.5 − 2 x
    found = Measure(0.1, Gaussian(), Diagonal(), draws=2).exact(one, torch.full((3, 2), 9.0))
    assert found["grae"].isnan().all()
    assert found["taylor"].isfinite().all()


@pytest.mark.parametrize("draws", [0, 3])
def test_draws_come_in_pairs(draws: int) -> None:
    with pytest.raises(InputError, match=f"draws is {draws}"):
        Curves(TrainingSettings(50, 1.0, (0,)), (0.1,), points=2, hessian_points=1, draws=draws)


def made_up(config: Curves) -> dict[Point, MeasuredRun]:
    """Gaps that grow like β and β², with noise over the data."""
    generator = np.random.default_rng(0)
    table = {}
    for block, beta, seed in runs(config):
        taylor = 10 + generator.normal(size=60)
        values = {
            "beta_vae": taylor + 0.5 * beta**2 * generator.uniform(0.9, 1.1, 60),
            "taylor": taylor,
            "grae": taylor - 3 * beta * generator.uniform(0.9, 1.1, 60),
            "grae_family": taylor - beta,
        }
        values["gap"] = values["taylor"] - values["grae"]
        closed = np.where(np.arange(4) < 1, np.nan, 8.0)
        table[block, beta, seed] = MeasuredRun((5, 50), (values, values), {"taylor": taylor[:4] + 0.25, "grae": closed})
    return table


@pytest.fixture
def config() -> Curves:
    return Curves(
        TrainingSettings(50, 1.0, (0, 1)),
        (0.1, 0.2, 0.8),
        points=60,
        hessian_points=4,
        draws=2,
        blocks=(1, 2),
        resamples=100,
    )


def test_summary_finds_the_powers_and_the_means(config: Curves) -> None:
    table = made_up(config)
    summary = summarise(table, config, np.random.default_rng(0))
    found = summary["blocks"]["2"]
    for title, power in (("(2) − (7)", 2.0), ("(7) − (13)", 1.0)):
        one = found["slopes"][title]
        assert one["low"] - 0.02 < power < one["high"] + 0.02, title
        assert one["high"] - one["low"] < 0.1
    expected = np.mean([table[2, 0.8, seed].values[-1]["taylor"] for seed in (0, 1)])
    assert found["objectives"][-1]["taylor"][2]["value"] == pytest.approx(expected)
    assert found["gaps"][0]["family − (13)"][1]["value"] == pytest.approx(
        np.mean([table[2, 0.2, s].values[0]["grae_family"] - table[2, 0.2, s].values[0]["grae"] for s in (0, 1)])
    )
    exact = found["exact_hessian"]
    assert [one["value"] for one in exact["(4) − (7)"]] == pytest.approx([0.25] * 3)
    assert exact["share_without_(10)"] == [0.25] * 3
    assert exact["(4) − (10)"][0]["data"] == 6
    assert summary["formula_error"] == 0


def test_formula_error_is_the_worst_sample(config: Curves) -> None:
    one = made_up(config)[1, 0.1, 0]
    one.values[0]["gap"][7] += 0.2
    assert formula_error(one) == pytest.approx(0.2 / one.values[0]["taylor"][7], rel=1e-9)


def test_the_figure_has_a_column_for_each_block_size(config: Curves) -> None:
    figure = plot(summarise(made_up(config), config, np.random.default_rng(0)), config)
    assert len(figure.axes) == 6
    np.testing.assert_allclose(figure.axes[0].lines[0].get_xdata(), config.betas)


def test_bands_of_sizes_hold_whatever_their_intervals_hold() -> None:
    generator = np.random.default_rng()
    low, high = np.sort(generator.normal(size=(2, 500)), axis=0)
    inside = low + generator.random(500) * (high - low)
    least, most = sizes(low, high)
    assert ((least <= np.abs(inside)) & (np.abs(inside) <= most)).all()
    assert (least[(low < 0) & (high > 0)] == 0).all()
    assert np.isin(most, np.abs([low, high])).all()


def test_every_mark_lies_in_its_band(config: Curves) -> None:
    table = made_up(config)
    for measured in table.values():  # (2) − (7) has either sign
        for values in measured.values:
            values["beta_vae"] = values["taylor"] + np.random.default_rng(1).normal(-1e-4, 0.01, 60)
    figure = plot(summarise(table, config, np.random.default_rng(0)), config)
    hollow = 0
    for at in figure.axes:
        marks = [line for line in at.lines if line.get_linestyle() == "-"]
        for line, band in zip(marks, at.collections, strict=True):
            vertices = band.get_paths()[0].vertices
            for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True):
                heights = vertices[np.isclose(vertices[:, 0], x), 1]
                assert heights.min() - 1e-12 <= y <= heights.max() + 1e-12
        hollow += sum(len(line.get_xdata()) for line in at.lines if str(line.get_markerfacecolor()) == "white")
    assert hollow > 0
    assert "hollow: gap < 0" in figure.axes[2].get_ylabel()


def test_a_trained_run_is_measured_at_its_snapshots_and_its_end(
    toy: TrainingSettings, tmp_path, config: Curves
) -> None:
    run_config = toy.beta_vae(0, 0.2, 4, 2)
    run = sweep([run_config], tmp_path, Local(), keep=milestones)[run_config]
    found = measure(run, run.dataset().test, config, torch.device("cpu"))
    assert found.steps == (2, 6, 20)
    assert [len(values["taylor"]) for values in found.values] == [8, 8, 8]
    assert len(found.exact["taylor"]) == 4
    assert formula_error(found) < 1e-4
    nlls = [values["grae"].mean() for values in found.values]
    assert nlls[0] > nlls[2]
