"""The deterministic objective to first order: an autoencoder with a Jacobian norm."""

from __future__ import annotations

import torch

from curvae._checks import non_negative, shown
from curvae._precision import at_least_float32, lifted
from curvae._typing import Tensor
from curvae.autoencoder import Model
from curvae.curvature import Linearised, Trace
from curvae.errors import InputError
from curvae.likelihoods import Likelihood
from curvae.likelihoods.gaussian import or_gaussian
from curvae.objectives.loss import check_model
from curvae.objectives.support import check_support
from curvae.objectives.terms import Terms


class RAE:
    r"""$-\log p(x\mid h)+\tfrac{w_e}2\|h\|^2+\tfrac{w_d}2\mathrm{tr}\,M$, minimised: (12) to first order in $1/\beta$.

    For Gaussian observations the last term is $\tfrac{w_d}2\|J_g(h)\|_F^2$, the gradient penalty of Ghosh et al.,
    "From variational to deterministic autoencoders" (2020, their RAE-GP), with a weight of its own. In its correct
    form: the squared norm of the decoder's whole Jacobian with respect to the *latents*, at the code. Implementations
    exist that take the gradient of the *summed* output, which vanishes where the rows of $J$ cancel, or that
    differentiate with respect to the encoder's input. $w_d=1$ is what a β-VAE implies, whatever β is, while the
    singular values of $J$ are below $\sqrt\beta$; :class:`~curvae.objectives.GRAE` has no such condition.
    Parts: ``nll``, ``prior``, ``penalty``.

    Args:
        encoder_weight: $w_e$, ≥ 0; a β-VAE implies β.
        decoder_weight: $w_d$, ≥ 0; a β-VAE implies 1.
        likelihood: observation model; default Gaussian with σ = 1.
        trace: how tr M is computed; default exact, ``Trace(Signs(1))`` for Hutchinson's estimate.

    Raises:
        InputError: if a weight is negative, or ``likelihood`` or ``trace`` is of another kind.

    Example:
        >>> from curvae import Autoencoder, curvature
        >>> model = Autoencoder(torch.nn.Linear(3, 2), torch.nn.Linear(2, 3), latents=2)
        >>> objective = RAE(0.2, 1.0, trace=curvature.Trace(curvature.Signs(1)))
        >>> sorted(objective(model, torch.randn(5, 3)).parts)
        ['nll', 'penalty', 'prior']
    """

    def __init__(
        self,
        encoder_weight: float,
        decoder_weight: float = 1.0,
        likelihood: Likelihood | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.encoder_weight = non_negative("encoder_weight", encoder_weight)
        self.decoder_weight = non_negative("decoder_weight", decoder_weight)
        self.likelihood = or_gaussian(likelihood)
        self.trace = Trace() if trace is None else trace
        if not isinstance(self.trace, Trace):
            raise InputError(f"trace is {shown(trace)}; expected curvature.Trace(), such as Trace(Signs(1))")

    def __call__(self, model: Model, x: Tensor, generator: torch.Generator | None = None) -> Terms:
        """The parts for a batch ``x`` ``[B, *D]``; ``generator`` draws probes where the trace is estimated."""
        check_model(model)
        check_support(self.likelihood, x)
        h = lifted(model.encode(x))
        if self.decoder_weight == 0:  # nothing of the decoder's derivatives is left
            eta, trace = at_least_float32(model.decode(h)), h.new_zeros(len(h))
        else:
            eta, trace = self.trace.of(Linearised(model.decode, h, x, self.likelihood), generator)
        return Terms(
            {
                "nll": self.likelihood.nll(eta, x),
                "prior": 0.5 * self.encoder_weight * h.square().flatten(1).sum(1),
                "penalty": 0.5 * self.decoder_weight * trace,
            }
        )

    def __repr__(self) -> str:
        return (
            f"RAE(encoder_weight={self.encoder_weight:g}, decoder_weight={self.decoder_weight:g}, "
            f"likelihood={self.likelihood}, trace={self.trace})"
        )
