"""Run as a script, because Dynamo cannot read the tests' shape checks: a compiled step beside an eager one."""

from __future__ import annotations

import copy
import json
import sys
from contextlib import nullcontext

import torch
from torch import Tensor, nn

from curvae.runs import RunConfig, build_model, build_objective
from curvae.training.compiling import compile_networks


def step(config: RunConfig, model: nn.Module, x: Tensor) -> list[Tensor]:
    """Loss, gradients and running statistics."""
    loss = build_objective(config)(model, x, torch.Generator().manual_seed(0)).mean()
    loss.backward()
    return [loss.detach(), *(p.grad for p in model.parameters()), *model.buffers()]


def compare(options: dict[str, str], network: str) -> dict[str, object]:
    """What was compiled, whether that left the state alone, and whether the step is the eager one."""
    config = RunConfig(data="x.npy", network=network, width=1 / 64, latents=2, precision="64", **options)
    shape = (1, 28, 28) if network == "paper" else (6,)
    torch.manual_seed(0)
    model, x = build_model(config, shape).train(), torch.rand(8, *shape, dtype=torch.float64)
    compiled, before = copy.deepcopy(model), copy.deepcopy(model.state_dict())
    refused = compile_networks(compiled, build_objective(config), x, nullcontext())
    same = all(torch.equal(value, before[name]) for name, value in compiled.state_dict().items())
    pairs = list(zip(step(config, compiled, x), step(config, model, x), strict=True))
    return {
        "refused": refused,
        "compiled": [name for name, part in compiled.named_children() if part._compiled_call_impl is not None],
        "state_left_alone": same,
        "graphs": torch._dynamo.utils.counters["stats"]["unique_graphs"],
        "equal": [torch.allclose(a, b, rtol=1e-9, atol=1e-11) for a, b in pairs],
    }


if __name__ == "__main__":
    print(json.dumps(compare(json.loads(sys.argv[1]), sys.argv[2])))
