"""A run that starts from another's weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from curvae.autoencoder import Autoencoder
from curvae.cli import app
from curvae.errors import InputError
from curvae.metrics import Implied
from curvae.posteriors import Diagonal
from curvae.runs import RunConfig, load_model
from curvae.runs.build import build_model
from curvae.runs.export import save_model
from curvae.runs.start import start_from
from curvae.training import train

Configure = Callable[..., RunConfig]


def weights(model: Autoencoder, *parts: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in model.state_dict().items() if name.startswith(parts)}


@pytest.mark.parametrize("network", ["mlp", "paper"])
def test_networks_and_means_are_the_other_runs_and_a_head_for_covariances_is_new(
    configure: Configure, network: str, tmp_path: Path
) -> None:
    grae = configure(objective="grae", network=network, steps=2)
    other = train(grae, tmp_path / "grae").run.model()
    config = configure(objective="beta-vae", network=network, seed=1)
    shape = (1, 28, 28) if network == "paper" else (6,)
    model = build_model(config, shape)
    head = weights(model, "factor_head")
    assert start_from(tmp_path / "grae", model, config) == ["factor_head"]
    shared = ("encoder", "decoder", "mean_head")
    torch.testing.assert_close(weights(model, *shared), weights(other, *shared), rtol=0, atol=0)
    torch.testing.assert_close(weights(model, "factor_head"), head, rtol=0, atol=0)
    x = torch.rand(3, *shape)
    torch.testing.assert_close(model.eval().reconstruct(x), other.reconstruct(x))


def test_a_head_of_the_same_structure_is_taken_and_one_of_another_is_not(configure: Configure, tmp_path: Path) -> None:
    # two latents: these two have heads of the same size, which mean something else
    run = train(configure(objective="beta-vae", structure="full", steps=2), tmp_path / "full").run
    for structure, new in (("full", []), ("banded:1", ["factor_head"])):
        config = configure(objective="beta-vae", structure=structure, seed=1)
        model = build_model(config, (6,))
        assert start_from(run.path, model, config) == new
        same = torch.equal(model.factor_head.weight, run.model().factor_head.weight)
        assert same == (new == [])


def test_a_run_starts_there_and_goes_on_after_a_stop_before_its_first_checkpoint(
    configure: Configure, tmp_path: Path
) -> None:
    first = train(configure(steps=2), tmp_path / "first").run.model()
    config = configure(objective="beta-vae", init_from=str(tmp_path / "first"), steps=1, lr=1e-12)
    run = train(config, tmp_path / "second").run
    assert run.config.init_from == str(tmp_path / "first")
    torch.testing.assert_close(weights(run.model(), "encoder"), weights(first, "encoder"))
    for name in ("model.json", "model.safetensors", "checkpoints/last.ckpt"):
        (tmp_path / "second" / name).unlink()
    again = train(config, tmp_path / "second", resume=True).run.model()
    torch.testing.assert_close(again.state_dict(), run.model().state_dict(), rtol=0, atol=0)


def test_the_first_widths_are_those_that_the_other_decoder_implies(configure: Configure, tmp_path: Path) -> None:
    train(configure(), tmp_path / "first")
    config = configure(objective="beta-vae", init_from=str(tmp_path / "first"), steps=1, lr=1e-12)
    run = train(config, tmp_path / "second").run
    x = torch.as_tensor(run.dataset().train[:])
    found = run.model().posterior(x).covariance()
    best = Implied(load_model(tmp_path / "first"), config.beta, structure=Diagonal()).posterior(x).covariance()
    one = torch.eye(2).expand_as(best)  # a head as initialised
    assert (found - best).norm() < 0.2 * (one - best).norm()


def test_other_structures_begin_anew_and_say_so(configure: Configure, tmp_path: Path) -> None:
    train(configure(steps=1), tmp_path / "first")
    config = configure(objective="beta-vae", structure="full", init_from=str(tmp_path / "first"), steps=1)
    with pytest.warns(RuntimeWarning, match="factor_head initialised anew"):
        train(config, tmp_path / "second")


def test_float64_starts_from_float32(configure: Configure, tmp_path: Path) -> None:
    train(configure(steps=1), tmp_path / "first")
    config = configure(objective="beta-vae", precision="64")
    model = build_model(config, (6,))
    start_from(tmp_path / "first", model, config)
    assert model.encode(torch.rand(2, 6, dtype=torch.float64)).dtype == torch.float64


def test_what_cannot_be_started_from_is_refused_and_no_folder_is_made(configure: Configure, tmp_path: Path) -> None:
    train(configure(steps=1), tmp_path / "first")
    where = str(tmp_path / "first")

    def refusal(**changes: object) -> str:
        with pytest.raises(InputError) as caught:
            train(configure(**changes), tmp_path / "second")
        assert not (tmp_path / "second").exists()
        return str(caught.value)

    assert "networks are other ones" in refusal(init_from=where, width=0.04)
    assert "networks are other ones" in (said := refusal(init_from=where, latents=3))
    assert said.endswith("train with its network, width and latents, on data of its shape")
    assert "holds no finished model" in refusal(init_from=str(tmp_path / "nowhere"))
    (tmp_path / "first" / "model.safetensors").write_bytes(b"damaged")
    assert "is damaged" in refusal(init_from=where)


@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_a_network_that_only_begins_alike_and_other_kinds_of_numbers_are_refused(
    configure: Configure, tmp_path: Path
) -> None:
    def made(depth: int) -> Autoencoder:
        layers = [nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(depth)]
        return Autoencoder(nn.Sequential(*layers), nn.Linear(2, 6), latents=2, features=6)

    model, config = made(1), configure()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for other, said in (
        (made(2), r"nothing missing and 'encoder.1.0.bias', 'encoder.1.0.weight' unknown"),
        (made(1).to(torch.complex64), r"weight is complex64 .*; expected float32"),
    ):
        save_model(other, config, (6,), tmp_path)
        with pytest.raises(InputError, match=said):
            start_from(tmp_path, model, config)
        torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_the_command_line_says_what_is_new(configure: Configure, tmp_path: Path) -> None:
    config = configure(steps=1)
    train(config, tmp_path / "first")
    options = f"--data {config.data} --network mlp --width 0.02 --latents 2 --steps 1 --batch-size 8 --device cpu"
    command = f"train {options} --objective beta-vae --init-from {tmp_path / 'first'} --out {tmp_path / 'second'}"
    done = CliRunner().invoke(app, command.split())
    assert done.exit_code == 0
    assert "has no such widths: they begin as those that its decoder implies" in " ".join(done.stderr.split())
    assert load_model(tmp_path / "second").structure is not None


@pytest.mark.filterwarnings("ignore:note. :RuntimeWarning")
def test_other_columns_and_classes_are_told(tmp_path: Path) -> None:
    pytest.importorskip("pandas")
    for name, header, classes in (("first", "a,b,g", "xyz"), ("second", "b,a,g", "xyw")):
        rows = [f"{i % 5}.5,{i % 7}.5,{classes[i % 3]}" for i in range(40)]
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *rows]))
    options = "--condition g --network mlp --width 0.02 --latents 2 --steps 1 --batch-size 8 --device cpu"
    said = []
    for name, more in (
        ("first", ""),
        ("second", f"--init-from {tmp_path}/first"),
        ("again", f"--init-from {tmp_path}/first"),
    ):
        data = tmp_path / ("second.csv" if name == "second" else "first.csv")
        done = CliRunner().invoke(app, f"train --data {data} --out {tmp_path}/{name} {options} {more}".split())
        assert done.exit_code == 0, done.stderr
        said.append(" ".join(done.stderr.split()))
    assert "first was trained on other columns, or in another order: it had 'a' where 'b' is now" in said[1]
    assert "first was told g (3 classes: x, y, z), and its weights are now told g (3 classes: w, x, y)" in said[1]
    assert "trained on other" not in said[2]
    assert "weights are now told" not in said[2]
