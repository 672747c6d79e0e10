"""``curvae inspect``: what it takes for MODEL and data, what it prints, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import curvae as package
from curvae.runs import Run

Curvae = Callable[..., Any]

MODEL = """
import torch
from torch import nn
from curvae import adapters

def model():
    torch.manual_seed(0)
    encode = nn.Linear(6, 2)
    return adapters.callables(lambda x: (encode(x), 0.3 + 0 * x[:, :2]), nn.Linear(2, 6), latents=2, beta=0.5)

def shapeless():
    return adapters.callables(nn.Linear(6, 2), nn.Linear(2, 6))

def broken():
    raise OSError("no such weights")

def number():
    return 3

def wide():
    return adapters.callables(lambda x: x, lambda z: 2 * z, latents=100)

def loud():
    print("loading weights")
    d = nn.Linear(100, 100)
    return adapters.callables(lambda x: x, lambda z: print("decoding", len(z)) or d(z), latents=100)

def demanding(shape, depth=2):
    return None

constant = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "own.py").write_text(MODEL)
    (tmp_path / "vae").mkdir()  # as in a pipeline's folder
    return tmp_path / "own.py"


def test_a_run_on_its_held_out_data(curvae: Curvae, original: Run):
    answer = curvae("inspect", original.path, "--json", "--seed", "3")
    assert answer.code == 0
    generator = torch.Generator().manual_seed(3)
    found = package.inspect(original.model(), original.dataset().test, original.config.beta, generator).to_dict()
    for name in ("trace", "log_det", "noise", "effective_dimension", "per_latent"):
        assert answer.json[name] == found[name]
    assert answer.json["beta"] == original.config.beta
    assert answer.json["environment"]["torch"] == torch.__version__


def test_a_function_and_a_file_of_numbers(curvae: Curvae, file: Path, tmp_path: Path):
    x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    answer = curvae("inspect", f"{file}:model", "--data", tmp_path / "x.npy", "--json", "--limit", "40")
    assert answer.code == 0
    weight = package.inspection.opening.open_model(f"{file}:model").model._decode.weight.double()
    assert math.isclose(answer.json["trace"], weight.square().sum().item(), rel_tol=1e-5)
    expected = (weight.square().sum(0) / (0.3**-2 - 1)).sort().values
    assert np.allclose(answer.json["beta_hat"]["median"], expected.mean().item(), rtol=1e-4)
    assert answer.json["maker_beta"] == 0.5
    assert answer.json["cost"]["samples"] == 40


def test_a_single_sample(curvae: Curvae, file: Path, tmp_path: Path):
    np.save(tmp_path / "one.npy", np.random.default_rng(0).random((1, 6), dtype=np.float32))
    answer = curvae("inspect", f"{file}:model", "--data", tmp_path / "one.npy", "--json")
    assert answer.code == 0, answer.stderr
    assert json.loads(answer.stdout)["trace_se"] is None  # one sample says nothing of others


def test_prior_draws_a_page_and_a_table(curvae: Curvae, file: Path, tmp_path: Path):
    out = tmp_path / "page.html"
    answer = curvae("inspect", f"{file}:model", "--data", "prior:9", "--beta", "0.2", "--out", out)
    assert answer.code == 0
    assert "effective dimension" in answer.stdout
    assert "- beta for latent noise 0.1" in answer.stdout
    page = out.read_text(encoding="utf-8")
    assert "own.py:model" in page
    assert page.count("<img") == 3
    assert "http" not in page.replace("http-equiv", "")


def test_what_a_model_prints_is_not_the_answer(curvae: Curvae, file: Path):
    file.write_text("print('imported')\n" + file.read_text())
    answer = curvae("inspect", f"{file}:loud", "--data", "prior:3000", "--products", "24", "--beta", "1", "--json")
    assert answer.json["cost"]["samples"] == 8
    said = answer.stderr.splitlines()
    assert said[:2] == ["imported", "loading weights"]
    assert max(int(line.split()[1]) for line in said[2:]) == 8  # no more draws are decoded than are looked at


def test_prior_draws_are_the_decoded_prior(file: Path):
    from curvae.inspection.opening import decoded_draws, open_model

    opened = open_model(f"{file}:model")
    x = decoded_draws(opened.model, 5, torch.Generator().manual_seed(1))
    z = torch.randn(5, 2, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(x, opened.model.decode(z))


@pytest.mark.skipif(importlib.util.find_spec("diffusers") is None, reason="diffusers is not installed")
def test_a_folder_of_diffusers(curvae: Curvae, tmp_path: Path):
    from diffusers import AutoencoderTiny

    widths = {"encoder_block_out_channels": (8, 8), "decoder_block_out_channels": (8, 8)}
    AutoencoderTiny(**widths, num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1)).save_pretrained(tmp_path / "vae")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))
    answer = curvae("inspect", tmp_path / "vae", "--data", tmp_path / "x.npy", "--beta", "1", "--json")
    assert answer.code == 0
    assert answer.json["latents"] == [4, 4, 4]
    assert answer.json["beta_hat"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{folder}/none", "--data", "prior:4"], "does not exist; expected a run folder of curvae"),
        (["{file}", "--data", "prior:4"], "own.py:FUNCTION"),
        (["{folder}/none.py:model", "--data", "prior:4"], "none.py does not exist"),
        (["{file}:none", "--data", "prior:4"], "own.py has no none"),
        (["{file}:constant", "--data", "prior:4"], "constant in"),
        (["{file}:broken", "--data", "prior:4"], "OSError: no such weights"),
        (
            ["{file}:demanding", "--data", "prior:4"],
            "own.py:demanding needs shape; expected a function without arguments",
        ),
        (["{file}:model", "--data", "prior:4", "--model", "{file}:model"], "--model and --trust are for run folders"),
        (["no.such:model", "--data", "prior:4"], "there is no module no.such"),
        (["{file}:number", "--data", "prior:4"], "an int is not a model that curvae knows"),
        (["{file}:shapeless", "--data", "prior:4"], "does not say how many latents it has"),
        (["{file}:model"], "--data is missing"),
        (["{file}:model", "--data", "prior:0"], "prior:N is 0"),
        (["{file}:model", "--data", "prior:-3"], "'prior:-3' is not prior:N with N from 1 to 999999"),
        (["{file}:model", "--data", "prior:4", "--size", "8"], "size is for images that --data reads"),
        (["{file}:wide", "--data", "prior:4", "--products", "5"], "products is 5 for 100 latents"),
        (["{folder}", "--data", "prior:4"], "vae, the autoencoder of this pipeline"),
        (["{file}:model", "--data", "{folder}/none.npy"], "does not exist"),
        (["{file}:model", "--data", "prior:4", "--beta", "-1"], "beta is -1.0; expected a finite number > 0"),
        (["{file}:model", "--data", "prior:4", "--products", "1"], "products is 1 for 2 latents"),
        (["{file}:model", "--data", "prior:4", "--limit", "0"], "--limit is 0"),
        (["{file}:model", "--data", "prior:4", "--likelihood", "cauchy"], "likelihood is 'cauchy'"),
        (["{file}:model", "--data", "prior:4", "--out", "{folder}/page.pdf"], "ends in .html, .htm"),
    ],
)
def test_bad_input_is_one_line(curvae: Curvae, file: Path, arguments: list[str], message: str):
    places = {"{folder}": str(file.parent), "{file}": str(file)}
    given = []
    for argument in arguments:
        for name, place in places.items():
            argument = argument.replace(name, place)
        given.append(argument)
    answer = curvae("inspect", *given)
    assert answer.code == 2
    assert message in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1


def test_data_for_a_run_are_read_as_its_own(curvae: Curvae, tmp_path: Path):
    pytest.importorskip("pandas")
    rows = np.random.default_rng(0).normal(size=(30, 4)).round(4)
    lines = ["a,b,c,d,tag", *(",".join(map(str, [*row, "x"])) for row in rows)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    train = ["train", "--data", tmp_path / "t.csv", "--labels", "tag", "--latents", "2", "--steps", "2"]
    assert curvae(*train, "--batch-size", "8", "--out", tmp_path / "run", "--device", "cpu").code == 0
    answer = curvae("inspect", tmp_path / "run", "--data", tmp_path / "t.csv", "--json", "--limit", "5")
    assert answer.code == 0, answer.stderr
    other = curvae("inspect", tmp_path / "run", "--json", "--limit", "3", "--likelihood", "gaussian:0.5")
    assert other.code == 0
    own = curvae("inspect", tmp_path / "run", "--json", "--samples", "3")
    assert other.json["trace"] == pytest.approx(4 * own.json["trace"])
