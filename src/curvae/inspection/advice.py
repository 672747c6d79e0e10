"""What to do about it, with reasons."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from curvae.inspection.result import Advice, BetaHat, Group

_WANTED = (0.1, 0.3)
_FAR = 1.1
_UNEQUAL = 4.0
_SCATTERED = 1.5


def advise(
    beta: float | None,
    maker: float | None,
    hat: BetaHat | None,
    typical: float,
    outputs: int,
    groups: tuple[tuple[Group, ...], tuple[Group, ...]],
    codes: Float[np.ndarray, "B d"],
    channel: np.ndarray | None,
    variance: Float[np.ndarray, " d"] | None,
    radius: float | None,
    width: float | None,
) -> Iterator[Advice]:
    r"""All that the numbers say.

    Args:
        beta: that the implied posterior was computed at.
        maker: β as its maker gave it.
        hat: the effective β.
        typical: median $M_{ii}$ of the latents in use, in units of the prior.
        outputs: D.
        groups: by latent and by channel.
        codes: posterior means, in the latents' own units.
        channel: of each latent.
        variance: mean variance of the shipped posterior of each latent, own units; None without one.
        radius: noise at which the second order is off by 10 %, own units.
        width: median standard deviation of the posterior, shipped or implied, own units.
    """
    yield from _maker(maker, hat, outputs)
    yield from _noise(typical)
    yield from _scale(codes, channel, variance)
    yield from _sensitivity(groups[1])
    yield from _verdicts(groups[0] or groups[1])
    if radius is not None and width is not None and width > radius:
        yield Advice(
            "do not trust second order at the posterior's width",
            radius,
            f"the prediction fails by 10 % at noise {radius:.3g}, and the posterior's width is {width:.3g}: "
            "train with the noise, or with steps of that width, rather than with the Jacobian",
        )
    if hat is not None and hat.quartiles[1] > _SCATTERED * max(hat.quartiles[0], 0.0):
        yield Advice(
            "do not take β̂ for a β",
            list(hat.quartiles),
            "its quartiles are far apart: this posterior is not (11) of this decoder at any one β",
        )
    if beta is None:
        why = (
            "there is no posterior to read β from"
            if variance is None
            else "no β can be read off this posterior: it is nowhere narrower than the prior, or only where the "
            "decoder does not react"
        )
        yield Advice("give beta", None, f"{why}; what needs β is left out")


def of_data(assumed: tuple[float, float] | None, misfit: float | None) -> Iterator[Advice]:
    """Whether the data are on the scale that the model takes.

    Args:
        assumed: the range that bytes were brought to without anybody having said so.
        misfit: squared error of the reconstructions, in that of the data's own mean.
    """
    if assumed is not None:
        yield Advice(
            "say the range of pixels", list(assumed), "bytes were brought to it; pixels=… of the adapter says which"
        )
    if misfit is not None and misfit > 1:
        yield Advice(
            "check the data's scale",
            misfit,
            f"the squared error of their reconstructions is {misfit:.3g} times that of their mean: expected data "
            "as the model was trained on, and outputs on the same scale",
        )


def _maker(maker: float | None, hat: BetaHat | None, outputs: int) -> Iterator[Advice]:
    if maker is None or hat is None:
        return
    ratio = hat.median / maker
    if 1 / _FAR < ratio < _FAR:
        return
    known = {"a mean over the outputs": outputs / 2, "squares without the half": 0.5}
    like = next((f": {what} would be {factor:g}" for what, factor in known.items() if 0.8 < ratio / factor < 1.25), "")
    yield Advice(
        "convert the maker's beta",
        hat.median,
        f"β̂ is {hat.median:.4g}, {ratio:.3g} times the {maker:.4g} that was given{like}; see curvae.beta, and "
        "terms of the maker's loss that are not in (2)",
    )


def _noise(typical: float) -> Iterator[Advice]:
    for wanted in _WANTED if typical > 0 else ():
        yield Advice(
            f"beta for latent noise {wanted:g}",
            typical * wanted**2 / (1 - wanted**2),
            f"σ² = β/(β + M) is {wanted:g}² there for the median curvature of the latents in use, {typical:.4g}",
        )


def _scale(codes: np.ndarray, channel: np.ndarray | None, variance: np.ndarray | None) -> Iterator[Advice]:
    if len(codes) < 2:
        return
    whole = np.sqrt(codes.var() + (0.0 if variance is None else variance.mean()))
    if not whole > 0:
        return
    noise = "" if variance is None else ", their posterior's noise included,"
    reason = f"latents of these {len(codes)} samples{noise} have a standard deviation of {whole:.4g}: ×1/std"
    yield Advice("scale factor", float(1 / whole), reason)
    if channel is None:
        return
    kinds = np.unique(channel)
    means = np.array([codes[:, channel == kind].mean() for kind in kinds])
    between = np.array([codes[:, channel == kind].var() for kind in kinds])
    within = np.array([0.0 if variance is None else variance[channel == kind].mean() for kind in kinds])
    scales = 1 / np.sqrt(np.maximum(between + within, 1e-30))
    reason = f"channels' standard deviations run from {1 / scales.max():.3g} to {1 / scales.min():.3g}"
    yield Advice("shift of each channel", means.tolist(), "subtract the channels' means first")
    yield Advice("scale of each channel", scales.tolist(), reason)


def _sensitivity(channels: tuple[Group, ...]) -> Iterator[Advice]:
    curvature = [group.curvature for group in channels]
    if len(curvature) < 2 or min(curvature) <= 0 or max(curvature) < _UNEQUAL * min(curvature):
        return
    mean = float(np.exp(np.mean(np.log(curvature))))
    yield Advice(
        "scale channels by sensitivity",
        [float(np.sqrt(each / mean)) for each in curvature],
        f"equal noise costs {max(curvature) / min(curvature):.3g} times more decode error in one channel than in "
        "another; with these scales it costs the same",
    )


def _verdicts(groups: tuple[Group, ...]) -> Iterator[Advice]:
    said = {
        "unused": "drop these latents or lower β: neither posterior nor decoder uses them",
        "collapsed": "the posterior ignores these, though the decoder reacts to them",
        "too wide": "the posterior is wider than (11) allows: its noise costs more than the KL gives back",
        "too narrow": "the posterior is narrower than (11): it could bear more noise at this β",
    }
    for verdict, reason in said.items():
        which = [group.index for group in groups if group.verdict == verdict]
        if which:
            yield Advice(verdict, which, reason)
