"""Inception: only with the FID's own weights, and with clear lines where they cannot be had."""

import hashlib
from pathlib import Path

import pytest
import torch

from curvae.errors import InputError, MissingExtraError
from curvae.metrics import inception
from curvae.metrics.inception import Inception


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ``torch-fidelity`` were there."""
    monkeypatch.setattr("curvae._extras._is_there", lambda name: name == "torch_fidelity")


def test_without_the_package_the_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curvae._extras._is_there", lambda name: False)
    with pytest.raises(MissingExtraError, match=r'need torch-fidelity, .* pip install "curvae\[fid\]"'):
        Inception()


def test_other_weights_are_refused(installed: None, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    with pytest.raises(InputError, match="cannot be read"):
        Inception(path)
    path.write_bytes(b"others")
    with pytest.raises(InputError, match="expected 6726825d"):
        Inception(path)


def test_no_network_is_one_line(installed: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with pytest.raises(InputError, match=r"no route to host.*--set features=FILE"):
        Inception()


def test_the_network_sees_bytes_of_three_channels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3", exc_type=Exception)
    network = fidelity.FeatureExtractorInceptionV3

    # untrained weights in the published file's form, since the trained ones are not here
    monkeypatch.setattr(network, "load_state_dict", lambda self, state: None)
    path = tmp_path / "weights.pth"
    torch.save({}, path)
    monkeypatch.setattr(inception, "_DIGEST", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    extractor = Inception(path)
    x = torch.rand(2, 1, 40, 40)
    found = extractor(x)
    assert found.shape == (2, 2048)
    torch.testing.assert_close(found, extractor((x * 255).round().expand(-1, 3, -1, -1) / 255))
    assert not any(parameter.requires_grad for parameter in extractor.parameters())
