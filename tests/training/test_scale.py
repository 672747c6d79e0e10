"""Data are looked at once, before training: what cannot be right is refused, what is read otherwise is said."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from curvae.cli import app
from curvae.data import as_float, load
from curvae.runs import Run


def trained(data: Path, out: Path, *options: object) -> Any:
    few = ["--width", 0.02, "--latents", 2, "--steps", 2, "--batch-size", 4, "--device", "cpu"]
    arguments = ["train", "--data", data, "--out", out, *few, *options]
    return CliRunner().invoke(app, [str(one) for one in arguments])


def told(result: Any) -> str:
    return " ".join(result.stderr.split())


def test_digits_from_minus_one_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    digits = np.random.default_rng(0).integers(0, 2, (20, 1, 28, 28)).astype(np.float32)
    np.save(tmp_path / "digits.npy", 2 * digits - 1)
    result = trained(tmp_path / "digits.npy", tmp_path / "run")
    assert result.exit_code == 2
    assert "from -1 to 1; scale them, for example (x + 1) / 2" in told(result)
    assert not (tmp_path / "run").exists()
    assert trained(tmp_path / "digits.npy", tmp_path / "run", "--network", "mlp").exit_code == 0


@pytest.mark.parametrize("objective", ["beta-vae", "taylor"])
def test_a_loss_that_is_not_finite_before_the_first_step_names_the_scale(tmp_path: Path, objective: str) -> None:
    np.save(tmp_path / "features.npy", 1e6 * np.random.default_rng(0).normal(size=(40, 5)))
    result = trained(tmp_path / "features.npy", tmp_path / "run", "--network", "linear", "--objective", objective)
    assert result.exit_code == 2
    assert "on features before the first step: likelihood is gaussian" in told(result)
    assert "features has features of root mean square up to" in told(result)
    assert "standardise them" in told(result)
    assert "--lr" not in told(result)
    assert not (tmp_path / "run").exists()


def test_divergence_names_the_scale_and_not_the_rate(tmp_path: Path) -> None:
    np.save(tmp_path / "features.npy", 100 * np.random.default_rng(0).normal(size=(40, 5)))
    options = ("--network", "linear", "--lr", 1e30, "--steps", 20)
    result = trained(tmp_path / "features.npy", tmp_path / "run", *options)
    assert result.exit_code == 1
    assert "standardise them" in told(result).partition("error:")[2]
    assert "lower --lr" not in told(result)


def masks(folder: Path) -> Path:
    for number, mask in enumerate(np.random.default_rng(0).integers(0, 2, (20, 28, 28))):
        Image.fromarray(mask.astype(np.uint8)).save(folder / f"{number:02}.png")
    return folder


def twelve_bits(folder: Path) -> Path:
    for number, image in enumerate(np.random.default_rng(0).integers(0, 4096, (20, 28, 28))):
        Image.fromarray(image.astype(np.uint16)).save(folder / f"{number:02}.png")
    return folder


@pytest.mark.cases(1)
@pytest.mark.parametrize(
    ("make", "white", "line"),
    [(masks, 1, "taken as masks, 0 and 1"), (twelve_bits, 4095, "16 bits that use fewer: 4095 is taken as white, 1")],
)
def test_the_scale_is_said_once_kept_and_used_again(tmp_path: Path, make: Any, white: int, line: str) -> None:
    data = tmp_path / "data"
    data.mkdir()
    result = trained(make(data), tmp_path / "run")
    assert result.exit_code == 0, result.output
    assert told(result).count(line) == 1
    run = Run.open(tmp_path / "run")
    assert run.data["white"] == white
    assert as_float(run.dataset().train).max() == 1
    # what a set of other pictures alone would say decides nothing: the record does
    document = json.loads((tmp_path / "run" / "config.json").read_text())
    document["data"]["white"] = 65_535 if white > 1 else 255
    (tmp_path / "run" / "config.json").write_text(json.dumps(document))
    with pytest.raises(ValueError, match="has changed since"):
        Run.open(tmp_path / "run").dataset()


def test_a_run_of_version_0_1_on_masks_finds_its_data(tmp_path: Path) -> None:
    np.save(tmp_path / "masks.npy", np.random.default_rng(0).integers(0, 2, (20, 28, 28)).astype(np.uint8))
    assert trained(tmp_path / "masks.npy", tmp_path / "run", "--network", "linear").exit_code == 0
    document = json.loads((tmp_path / "run" / "config.json").read_text())
    # what it wrote: no white, and the digest of bytes of 0 and 1
    del document["data"]["white"]
    document["data"]["digest"] = load(tmp_path / "masks.npy", white=255).digest
    (tmp_path / "run" / "config.json").write_text(json.dumps(document))
    assert Run.open(tmp_path / "run").dataset().train.max() == 1
    np.save(tmp_path / "masks.npy", np.ones((20, 28, 28), np.uint8))
    with pytest.raises(ValueError, match=r"or is read otherwise since version 0\.2"):
        Run.open(tmp_path / "run").dataset()
