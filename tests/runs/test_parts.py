"""Strings to objects."""

import pytest

from curvae.errors import InputError
from curvae.runs import build_estimator, build_likelihood, build_structure
from curvae.runs.own_run import structure_name

# what a name stands for, written as the constructor that one would type
STRUCTURES = {
    "diagonal": "Diagonal()",
    "full": "Full()",
    "block:3": "BlockDiagonal(3)",
    "banded:2": "Banded(2)",
    "along:1:2:4:3": "Along((2, 4, 3), axis=1)",
    "shared:along:0:2:4": "Shared(Along((2, 4), axis=0))",
    "shared": "Shared(Full())",
    "shared:diagonal": "Shared(Diagonal())",
    "shared:full": "Shared(Full())",
    "shared:block:2": "Shared(BlockDiagonal(2))",
    "shared:banded:1": "Shared(Banded(1))",
}
ESTIMATORS = {
    "exact": "Exact()",
    "columns:2": "Columns(2)",
    "lanczos": "Lanczos(depth=16, probes=Signs(4))",
    "lanczos:2": "Lanczos(depth=16, probes=Signs(2))",
    "lanczos:2:5": "Lanczos(depth=5, probes=Signs(2))",
    "secants:2": "Secants(2)",
    "secants:2:central": "Secants(2, central=True)",
    "fraction:1/4:secants:1": "Fraction(Secants(1), 0.25)",
    "fraction:1/8:columns:2": "Fraction(Columns(2), 0.125)",
    "fraction:0.5:exact": "Fraction(Exact(), 0.5)",
    "fraction:1:trace:3": "Fraction(Trace(Signs(3)), 1)",
    "trace": "Trace()",
    "trace:3": "Trace(Signs(3))",
}
LIKELIHOODS = {
    "gaussian": "Gaussian(sigma=1)",
    "gaussian:0.25": "Gaussian(sigma=0.25)",
    "gaussian:learned": "LearnedGaussian(sigma=1)",
    "laplace": "Laplace(scale=1)",
    "laplace:0.5": "Laplace(scale=0.5)",
    "student-t:4": "StudentT(dof=4, scale=1)",
    "student-t:4:0.5": "StudentT(dof=4, scale=0.5)",
    "bernoulli": "Bernoulli()",
    "bernoulli-logits": "BernoulliLogits()",
    "continuous-bernoulli": "ContinuousBernoulli()",
    "poisson": "Poisson()",
    "negative-binomial:2.5": "NegativeBinomial(dispersion=2.5)",
}


@pytest.mark.parametrize(("text", "meaning"), STRUCTURES.items())
def test_structures(text: str, meaning: str) -> None:
    structure = build_structure(text)
    assert repr(structure) == meaning
    assert repr(build_structure(structure_name(structure))) == meaning


@pytest.mark.parametrize(("text", "meaning"), ESTIMATORS.items())
def test_estimators(text: str, meaning: str) -> None:
    assert repr(build_estimator(text)) == meaning


@pytest.mark.parametrize(("text", "meaning"), LIKELIHOODS.items())
def test_likelihoods(text: str, meaning: str) -> None:
    assert repr(build_likelihood(text)) == meaning


BAD_STRUCTURES = [
    "",
    "Diagonal",
    "diagonal:2",
    "full:",
    "block",
    "block:",
    "block:0",
    "block:-1",
    "block:2.5",
    "block:²",
]
BAD_STRUCTURES += ["banded", "banded:0", "banded:x", "block:2:2", "shared:", "shared:shared", "shared:blok:2", ":"]
BAD_STRUCTURES += ["along", "along:0", "along:2:4:4", "along:x:4:4", "along:0:0:4", "along:-1:4"]
BAD_ESTIMATORS = [
    "",
    "columns",
    "columns:",
    "columns:0",
    "columns:x",
    "columns:1:2",
    "hutchinson",
    "exact:1",
    "trace:0",
]
BAD_ESTIMATORS += ["lanczos:", "lanczos:0", "lanczos:4:0", "lanczos:4:x", "lanczos:4:16:1", "trace:", "trace:1:1"]
BAD_ESTIMATORS += [
    "secants",
    "secants:0",
    "fraction",
    "fraction:1/8",
    "fraction:0:exact",
    "fraction:2:exact",
    "fraction:1/0:exact",
]
BAD_ESTIMATORS += ["fraction:x:exact", "fraction:nan:exact", "fraction:1/8:lanczos", "fraction:1/2:fraction:1/2:exact"]
BAD_LIKELIHOODS = ["", "gauss", "gaussian:", "gaussian:x", "gaussian:0", "gaussian:-1", "gaussian:nan", "laplace:0"]
BAD_LIKELIHOODS += ["laplace:1:1", "student-t", "student-t:0", "student-t:4:x", "student-t:4:0", "negative-binomial"]
BAD_LIKELIHOODS += ["negative-binomial:inf", "poisson:2", "categorical", "gaussian:learned:1"]


@pytest.mark.parametrize("text", BAD_STRUCTURES)
def test_bad_structures_are_shown_whole(text: str) -> None:
    with pytest.raises(InputError, match=rf"^structure is '{text}'; expected [^\n]*$"):
        build_structure(text)


@pytest.mark.parametrize("text", BAD_ESTIMATORS)
def test_bad_estimators(text: str) -> None:
    with pytest.raises(InputError, match=rf"^estimator is '{text}'; expected [^\n]*$"):
        build_estimator(text)


@pytest.mark.parametrize("text", BAD_LIKELIHOODS)
def test_bad_likelihoods(text: str) -> None:
    with pytest.raises(InputError, match=r"^(likelihood|sigma|scale|dof|dispersion) is [^\n]*; expected [^\n]*$"):
        build_likelihood(text)
