"""The tests' own hook: annotations of shapes are checked."""

from typing import Self

import jaxtyping
import pytest
import torch
from beartype import beartype

from curvae import geometry


def wrong() -> None:
    geometry.pullback(lambda z: z, torch.zeros(3))  # a batch of codes [B, d] is expected


@pytest.mark.parametrize("checked", [True, False])
def test_in_the_first_case_of_a_test(checked: bool) -> None:
    assert jaxtyping.config.jaxtyping_disable is not checked
    with pytest.raises(jaxtyping.TypeCheckError if checked else Exception) as error:
        wrong()
    assert isinstance(error.value, jaxtyping.TypeCheckError) is checked


def test_of_methods_that_return_their_object() -> None:
    class Chained:
        @jaxtyping.jaxtyped(typechecker=beartype)
        def after(self, steps: int) -> "Self":
            return self

    assert isinstance(Chained().after(3), Chained)
    with pytest.raises(jaxtyping.TypeCheckError):
        Chained().after("three")  # type: ignore[arg-type]
