"""Configurations: JSON both ways, and no value that makes no sense."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curvae.errors import InputError
from curvae.runs import RunConfig

CONFIGS = st.builds(
    RunConfig,
    data=st.text(min_size=1),
    size=st.none() | st.integers(1, 512),
    objective=st.sampled_from(["beta-vae", "taylor", "grae", "rae"]),
    structure=st.sampled_from(["diagonal", "block:3", "full"]),
    network=st.sampled_from(["paper", "mlp", "linear"]),
    width=st.floats(1e-3, 10),
    beta=st.floats(1e-6, 10),
    encoder_weight=st.none() | st.floats(0, 10),
    curvature=st.sampled_from(["gauss-newton", "hessian"]),
    orthogonality=st.floats(0, 10),
    latents=st.integers(1, 256),
    steps=st.integers(1, 10**6),
    lr=st.floats(1e-6, 1),
    seed=st.integers(0, 2**63 - 1),
    precision=st.sampled_from(["32", "bf16", "64"]),
    compile=st.booleans(),
)


@given(CONFIGS)
def test_json_both_ways(config: RunConfig) -> None:
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@given(CONFIGS, CONFIGS)
def test_differences_name_the_fields_that_differ(one: RunConfig, other: RunConfig) -> None:
    names = one.differences(other)
    assert RunConfig.from_json(one.to_json() | {name: getattr(other, name) for name in names}) == other
    assert (names == []) == (one == other)


BAD: list[tuple[str, Any]] = [
    ("data", ""),
    ("data", 3),
    ("size", 0),
    ("size", 2.5),
    ("split_seed", -1),
    ("objective", "vae"),
    ("network", "resnet"),
    ("width", 0.0),
    ("width", float("inf")),
    ("beta", 0.0),
    ("beta", -0.2),
    ("beta", float("nan")),
    ("beta", "0.2"),
    ("beta", True),
    ("encoder_weight", -1.0),
    ("decoder_weight", float("nan")),
    ("curvature", "newton"),
    ("curvature", None),
    ("orthogonality", -0.1),
    ("orthogonality", float("inf")),
    ("orthogonality", None),
    ("latents", 0),
    ("latents", 2.0),
    ("latents", True),
    ("steps", 0),
    ("batch_size", -5),
    ("lr", 0),
    ("samples", 0),
    ("seed", -1),
    ("seed", 2**63),
    ("precision", "16"),
    ("precision", 32),
    ("compile", 1),
    ("compile", None),
    ("device", "tpu"),
    ("checkpoint_every", 0),
    ("log_every", 0),
]


@pytest.mark.usefixtures("as_shipped")
@pytest.mark.parametrize(("name", "value"), BAD)
def test_bad_values_are_named(name: str, value: Any) -> None:
    values = RunConfig(data="mnist").to_json() | {name: value}
    with pytest.raises(InputError, match=rf"^{name} is [^\n]*; expected [^\n]*$|^{name} is [^\n]*expected [^\n]*$"):
        RunConfig.from_json(values)


def test_configurations_from_before_a_setting_existed() -> None:
    old = {"data": "mnist", "size": None, "split_seed": 0, "objective": "grae", "structure": "full", "seed": 3}
    assert RunConfig.from_json(old) == RunConfig(data="mnist", structure="full", seed=3)
    assert (RunConfig.from_json(old).curvature, RunConfig.from_json(old).orthogonality) == ("gauss-newton", 0.0)


def test_unknown_keys_are_named() -> None:
    with pytest.raises(InputError, match="unknown configuration key betta, stepps; the keys are data, size"):
        RunConfig.from_json({"data": "mnist", "stepps": 3, "betta": 0.1})


def test_data_is_needed() -> None:
    with pytest.raises(InputError, match="no data"):
        RunConfig.from_json({"beta": 0.1})


def test_a_batch_fraction_and_a_shared_structure_are_options_of_their_own() -> None:
    """They are kept as runs have always kept them, so that old runs load and digests stay."""
    given = {"data": "mnist", "estimator": "columns:1", "structure": "block:2"}
    kept = RunConfig(data="mnist", estimator="fraction:1/4:columns:1", structure="shared:block:2")
    assert RunConfig.from_json(given | {"batch_fraction": "1/4", "shared": True}) == kept
    assert RunConfig.from_json(kept.to_json()) == kept
    # given to a run that has them already
    other = RunConfig.from_json(kept.to_json() | {"batch_fraction": "1/8", "shared": True})
    assert other.differences(kept) == ["estimator"]
    assert other.estimator == "fraction:1/8:columns:1"
    assert RunConfig.from_json({"data": "mnist", "batch_fraction": 0.5}).estimator == "fraction:0.5:exact"
    with pytest.raises(InputError, match="^shared is 1; expected true or false$"):
        RunConfig.from_json(given | {"shared": 1})
