"""Data and configurations."""

from typing import Any

import pytest
import torch

from curvae.data import Dataset
from curvae.errors import InputError
from curvae.runs import RunConfig
from curvae.runs.checks import check_data, cure, remarks


def config(**changes: Any) -> RunConfig:
    return RunConfig(**({"data": "toy", "network": "mlp", "width": 0.05, "latents": 3} | changes))


def dataset(values: torch.Tensor) -> Dataset:
    return Dataset("toy", values, values[:2].clone(), {"kind": "standard"})


@pytest.mark.parametrize(
    ("changes", "values", "message"),
    [
        ({"batch_size": 11}, torch.rand(10, 3), "only 10 training samples"),
        ({"batch_size": 1, "network": "paper"}, torch.rand(10, 1, 28, 28), "at least 2"),
        ({"batch_size": 2, "likelihood": "bernoulli"}, torch.rand(10, 3) + 0.5, r"is for values in \[0, 1\]"),
        ({"batch_size": 2, "likelihood": "bernoulli-logits"}, torch.rand(10, 3) - 0.5, r"is for values in \[0, 1\]"),
        (
            {"batch_size": 2, "likelihood": "continuous-bernoulli"},
            torch.rand(10, 3) - 0.5,
            r"is for values in \[0, 1\]",
        ),
        (
            {"batch_size": 2, "likelihood": "negative-binomial:2"},
            torch.rand(10, 3),
            r"toy: the data have .*, but NegativeBinomial\(.*\) is for counts",
        ),
        ({"batch_size": 2, "likelihood": "negative-binomial:2"}, torch.ones(10, 3, dtype=torch.uint8), "pixels"),
        ({"batch_size": 2, "likelihood": "poisson"}, torch.rand(10, 3), "is for counts"),
        ({"batch_size": 2, "likelihood": "poisson"}, -torch.ones(10, 3), "the data have -1, .* is for counts"),
        ({"batch_size": 2, "likelihood": "poisson"}, torch.ones(10, 3, dtype=torch.uint8), "pixels"),
    ],
)
def test_data_that_do_not_go_with_the_settings(changes: dict[str, Any], values: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_data(config(**changes), dataset(values))


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli", "bernoulli-logits", "continuous-bernoulli"])
def test_pixels_go_with_every_likelihood_on_the_unit_interval(likelihood: str) -> None:
    check_data(config(batch_size=2, likelihood=likelihood), dataset(torch.full((4, 3), 255, dtype=torch.uint8)))


IMAGES = torch.rand(10, 1, 28, 28)


@pytest.mark.parametrize("network", ["paper", "paper-no-norm"])
@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian:0.1", "gaussian:learned", "laplace", "student-t:4"])
@pytest.mark.parametrize(
    ("values", "told"),
    [
        (2 * IMAGES.round() - 1, r"from -1 to 1; scale them, for example \(x \+ 1\) / 2, or use network mlp or linear"),
        (255 * IMAGES.round(), "from 0 to 255; scale them, for example x / 255, or"),
        (4095 * IMAGES.round(), "from 0 to 4095; scale them, for example x / 4095, or"),
        (IMAGES.round() - 0.5, r"from -0.5 to 0.5; scale them, for example x \+ 0.5, or"),
        (1.04 * IMAGES.round() - 0.02, r"from -0.02 to 1.02; scale them, for example clipped, np.clip\(x, 0, 1\), or"),
        (5 * IMAGES.round() - 2, r"from -2 to 3; scale them, for example \(x \+ 2\) / 5, or"),
    ],
)
def test_values_that_a_sigmoid_cannot_give(network: str, likelihood: str, values: torch.Tensor, told: str) -> None:
    asked = config(batch_size=2, network=network, likelihood=likelihood)
    with pytest.raises(InputError, match=f"network {network}, whose decoder ends in a sigmoid, .*{told}"):
        check_data(asked, dataset(values))
    # it may be the held-out half alone that shows it
    with pytest.raises(InputError, match="ends in a sigmoid"):
        check_data(asked, Dataset("toy", IMAGES, values, {}))


@pytest.mark.parametrize("changes", [{"network": "mlp"}, {"network": "linear"}, {"likelihood": "poisson"}])
def test_a_decoder_without_a_sigmoid_gives_any_value(changes: dict[str, str]) -> None:
    check_data(config(batch_size=2, **({"network": "paper"} | changes)), dataset(7 * IMAGES.round()))


def test_what_an_observation_model_cannot_have_made_is_shown() -> None:
    values = torch.tensor([[0.0, 3.0], [2.5, 1.0]])
    with pytest.raises(
        InputError,
        match=r"^toy: the data have 2.5, but Poisson\(\) is for counts 0, 1, 2, …; give them .* or use Gaussian",
    ):
        check_data(config(batch_size=2, likelihood="poisson"), dataset(values))
    with pytest.raises(
        InputError,
        match=r"^toy: .* Bernoulli\(\) is for values in \[0, 1\]; they go from 0 to 3; .* x / 255, or use another",
    ):
        check_data(config(batch_size=2, likelihood="bernoulli"), dataset(values))


def said(values: torch.Tensor, record: dict[str, Any] | None = None, **changes: Any) -> str:
    return "\n".join(remarks(config(**changes), Dataset("toy", values, values[:2].clone(), record or {})))


def test_ordinary_data_are_not_remarked_on() -> None:
    assert said(torch.randn(50, 7)) == ""
    assert said(IMAGES, network="paper") == ""
    assert said((255 * IMAGES).byte(), network="paper") == ""
    assert said(torch.poisson(3 * torch.ones(50, 7)), likelihood="poisson") == ""


@pytest.mark.parametrize(("scale", "shift"), [(100.0, 0.0), (1.0, 1000.0), (1e5, -1e6)])
def test_features_that_are_not_standardised_are_named(scale: float, shift: float) -> None:
    values = scale * torch.randn(40, 5) + shift
    size = float(values.double().square().mean(0).sqrt().max())
    for told in (said(values), cure(dataset(values), config())):
        assert f"toy has features of root mean square up to {size:.3g}" in told
        assert "standardise them, for example (x - mean) / std of each" in told
    assert cure(dataset(torch.randn(40, 5)), config(), "else") == "else"


@pytest.mark.parametrize("gap", [False, True])
def test_large_counts_have_logarithms_but_none_that_a_model_of_counts_would_refuse(gap: bool) -> None:
    counts = torch.poisson(1000 * torch.ones(40, 5))
    counts[1, 2] = torch.nan if gap else 7.0
    masked = "masked:" * gap
    assert "take logarithms of counts" in said(counts, likelihood=f"{masked}gaussian")
    for name in ("poisson", "negative-binomial:2"):
        told = said(counts, likelihood=masked + name)
        assert "; --likelihood mixed shows the networks logarithms of counts" in told
        assert "standardise" not in told
    assert "let the encoder take logarithms" in said(counts, likelihood=f"{masked}poisson", model="own.py:build")


@pytest.mark.parametrize("sigma", [1.0, 0.1])
def test_data_below_the_noise_are_named(sigma: float) -> None:
    """The limit is that of probabilistic PCA: no direction whose variance is above β σ²."""
    values, beta = torch.randn(60, 4), 0.2
    limit = (beta * sigma**2 / float(values.double().var(0, correction=0).sum())) ** 0.5
    for factor, named in ((0.99, True), (1.01, False)):
        found = said(factor * limit * values, likelihood=f"gaussian:{sigma}", beta=beta)
        assert ("below which no latent is worth its cost" in found) == named


def test_columns_without_any_value_are_named_once() -> None:
    values = torch.randn(20, 3)
    values[3:7, 0] = torch.nan
    masked = {"likelihood": "masked:gaussian"}
    assert "nothing is learned" not in said(values, **masked)
    values[:, 1] = torch.nan
    assert (
        said(values, **masked).count("no training sample of toy has a value in '1', of which nothing is learned") == 1
    )


def test_how_stored_numbers_were_read_is_said() -> None:
    masks, deep = (255 * IMAGES.round()).byte(), (255 * IMAGES).byte()
    assert "taken as masks, 0 and 1, and not as pixels" in said(masks, {"white": 1})
    assert "16 bits that use fewer: 4095 is taken as white, 1" in said(deep, {"white": 4095})
    assert "divided by 255; save features or counts as float32" in said(deep.flatten(1))
    assert "uses no more than 0.0627 of the values from 0 to 1 (bytes up to 16 of 255)" in said(
        (16 * IMAGES.round()).byte()
    )
    assert "uses no more than 0.0625" in said(IMAGES.round() / 16, network="paper")
