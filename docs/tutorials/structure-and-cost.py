# %% [markdown]
# # Which structure, which estimator, what does it cost
#
# A GRAE's penalty is $\tfrac\beta2\log|I+M/\beta|$ with $M=J^\top J$ for Gaussian observations. Two choices make it
# cheaper:
#
# - the **structure** of the covariance that was optimised away. It decides *which* number the penalty is;
# - the **estimator**. It decides how that number is computed, or drawn without bias.
#
# This page measures both on one decoder.

# %%
import statistics
import time

import matplotlib.pyplot as plt
import torch

from curvae import Autoencoder, curvature, likelihoods, objectives, posteriors
from curvae.curvature import Linearised
from curvae.data import Batches, as_float, load
from curvae.nn import MLPDecoder, MLPEncoder

BETA, LATENTS = 0.2, 12
digits = load("mnist")


def network(structure=None):
    torch.manual_seed(0)
    decoder = MLPDecoder(LATENTS, (1, 28, 28), output=torch.nn.Sigmoid())
    return Autoencoder(MLPEncoder((1, 28, 28)), decoder, LATENTS, structure=structure)


model = network()
objective = objectives.GRAE(BETA, structure=posteriors.Diagonal(), estimator=curvature.Columns(1))
optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
generator = torch.Generator().manual_seed(0)
for batch in Batches(digits.train, batch_size=64, seed=0, steps=300):
    loss = objective(model, batch, generator).mean()
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
model = model.eval()
# %% [markdown]
# ## Structure
#
# A family with fewer parameters fits the posterior less well, and its penalty is larger. The last line is the first
# order in $1/\beta$, the trace $\tfrac12\|J\|_F^2$ that other regularised autoencoders use.

# %%
x = as_float(digits.test[:500])
with torch.no_grad():
    z = model.encode(x)


@torch.no_grad()
def penalty(structure, estimator, generator=None):
    """β/2 times the penalty of each digit, or times its estimate."""
    return (
        BETA
        / 2
        * estimator.penalty(Linearised(model.decode, z, x, likelihoods.Gaussian()), structure, BETA, generator)[1]
    )


structures = [posteriors.Full(), posteriors.BlockDiagonal(3), posteriors.BlockDiagonal(2), posteriors.Diagonal()]
exact = {str(structure): penalty(structure, curvature.Exact()) for structure in structures}
exact["first order"] = penalty(posteriors.Full(), curvature.Trace())
for name, values in exact.items():
    above = values - exact["Full()"]
    print(f"{name:18}{values.mean():7.2f} nats,  above Full() by {above.mean():5.2f}")

# the ordering is a theorem, and holds for every digit
ordered = torch.stack([exact[name] for name in ("Full()", "BlockDiagonal(2)", "Diagonal()", "first order")])
assert (ordered.diff(dim=0) > -1e-4).all()

# %% [markdown]
# Where the Jacobian's columns are orthogonal, full, block and diagonal agree. A diagonal structure therefore does not
# just approximate: trained with it, a decoder is pushed towards orthogonal columns, which singles out one rotation of
# its latents.
#
# ## Estimators
#
# `Columns(k)` pushes k random columns of the Jacobian for each sample. It is unbiased for the diagonal and block
# penalties, which are sums. `Fraction` computes the penalty for a random part of the batch and lets it stand for all
# of it.

# %%
draws = torch.Generator().manual_seed(1)
estimators = {f"Columns({k})": curvature.Columns(k) for k in (1, 2, 4)}
estimators["Columns(1) on 1/4 of the batch"] = curvature.Fraction(curvature.Columns(1), 0.25)
target = exact["Diagonal()"].mean()
errors = {}
for name, estimator in estimators.items():
    # what training sees: the mean over a batch of 64, drawn again and again
    means = torch.stack([penalty(posteriors.Diagonal(), estimator, draws).mean() for _ in range(40)])
    errors[name] = (means.std() * (len(x) / 64) ** 0.5).item()
    bias, half = means.mean() - target, 2.02 * means.std() / len(means) ** 0.5
    print(f"{name:32} error {bias:+.3f} ± {half:.3f},  spread at batch size 64: {errors[name]:.2f}")

# %% [markdown]
# The error's 95 % interval comes from the draws alone and should contain zero, 19 times in 20.
#
# For a full structure with thousands of latents there is `Lanczos`, which needs products with $M$ only. It has a
# bias, never negative, that falls with its depth.

# %% [markdown]
# ## Cost
#
# One training step of the same networks under each objective, in processor time, as a multiple of the β-VAE's.


# %%
def cost(objective, structure=None, repeats=15):
    model = network(structure)
    batch = as_float(digits.train[:64])
    times = []
    for _ in range(repeats):
        start = time.process_time()
        objective(model, batch).mean().backward()
        times.append(time.process_time() - start)
    return statistics.median(times)


def grae(structure, estimator):
    return objectives.GRAE(BETA, structure=structure, estimator=estimator)


diagonal, full = posteriors.Diagonal(), posteriors.Full()
candidates = {
    "Columns(1) on 1/4 of the batch": grae(diagonal, estimators["Columns(1) on 1/4 of the batch"]),
    "Columns(1)": grae(diagonal, curvature.Columns(1)),
    "Columns(2)": grae(diagonal, curvature.Columns(2)),
    "Columns(4)": grae(diagonal, curvature.Columns(4)),
    "Exact(), diagonal": grae(diagonal, curvature.Exact()),
    "Exact(), full": grae(full, curvature.Exact()),
    "Lanczos, depth 4, 1 probe": grae(full, curvature.Lanczos(4, curvature.Signs(1))),
}
base = cost(objectives.BetaVAE(BETA), diagonal)
costs = {name: cost(candidate) / base for name, candidate in candidates.items()}

# %% alt="Bars: the cost of a training step under each estimator, in steps of a β-VAE"
plt.figure(figsize=(6, 2.6))
bars = plt.barh(list(costs), list(costs.values()), color="tab:blue")
plt.bar_label(bars, fmt="%.1f", padding=3)
plt.axvline(1, color="gray", lw=1)
plt.gca().invert_yaxis()
plt.margins(x=0.1)
plt.xlabel("β-VAE steps")
plt.show()

# %% [markdown]
# These are timings of small networks on whatever machine built this page; those of the paper's networks, measured with
# care, are on the results pages. What carries over is the number of rows that go through the decoder: one for a
# β-VAE, 1 + K with K columns, 1 + K/4 with these on a quarter of the batch.
#
# ## So
#
# | you want | take |
# |---|---|
# | to train, on any network | `Diagonal()`, `Columns(1)` |
# | the same for less, where the decoder is the expensive part | `Fraction(Columns(1), 1/4)` |
# | correlated latents in known groups | `BlockDiagonal(b)`, `Columns(1)`: b columns for each draw |
# | the objective (13) itself, for tens of latents | `Full()`, `Exact()` |
# | the same for thousands of latents | `Full()`, `Lanczos(depth, Signs(probes))` |
