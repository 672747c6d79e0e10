"""The tests' own hook: annotations of shapes are checked."""

import jaxtyping
import pytest
import torch

from curvae import geometry


def wrong() -> None:
    geometry.pullback(lambda z: z, torch.zeros(3))  # a batch of codes [B, d] is expected


@pytest.mark.parametrize("checked", [True, False])
def test_in_the_first_case_of_a_test(checked: bool) -> None:
    assert jaxtyping.config.jaxtyping_disable is not checked
    with pytest.raises(jaxtyping.TypeCheckError if checked else Exception) as error:
        wrong()
    assert isinstance(error.value, jaxtyping.TypeCheckError) is checked
