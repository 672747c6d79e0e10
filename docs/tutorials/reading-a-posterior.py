# %% [markdown]
# # Reading a posterior
#
# Where a β-VAE with a full covariance has converged, its posterior's precision is $\Sigma^{-1}=I+\tfrac1\beta J^\top
# J$ with $J$ the decoder's Jacobian. So a posterior tells how the decoder stretches latent space, with no derivative
# taken. This page compares the two sides on a trained model and uses what follows: which latents are active, and what
# the shortest path between two digits is.

# %%
from functools import partial

import matplotlib.pyplot as plt
import torch

from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.data import Batches, as_float, load
from curvae.nn import MLPDecoder, MLPEncoder

BETA = 0.2
digits = load("mnist")


def train(structure, beta, steps):
    torch.manual_seed(0)
    encoder = MLPEncoder((1, 28, 28), hidden=(256, 128))
    decoder = MLPDecoder(10, (1, 28, 28), hidden=(128, 256), output=torch.nn.Sigmoid())
    model = Autoencoder(encoder, decoder, latents=10, structure=structure)
    objective = objectives.BetaVAE(beta)
    optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    generator = torch.Generator().manual_seed(0)
    for batch in Batches(digits.train, batch_size=64, seed=0, steps=steps):
        loss = objective(model, batch, generator).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay.step()
    return model.eval()


model = train(posteriors.Full(), BETA, steps=1500)

# %% [markdown]
# ## Σ⁻¹ against I + JᵀJ/β
#
# `curvature.jacobian` gives the Jacobian for each code of a batch, by forward mode.

# %% alt="Heat maps of the precision and of what the decoder implies, for four digits"
x = as_float(digits.test[:500])
with torch.no_grad():
    q = model.posterior(x)
    jacobian = curvature.jacobian(model.decode, q.mean).flatten(1, -2)  # [B, D, d]
precision = q.precision()
implied = torch.eye(10) + jacobian.mT @ jacobian / BETA

figure, axes = plt.subplots(2, 4, figsize=(7, 3.6))
for matrices, line, name in ((precision, axes[0], "Σ⁻¹"), (implied, axes[1], "I + JᵀJ/β")):
    line[0].set_ylabel(name)
    for i, axis in enumerate(line):
        top = implied[i].abs().max()
        axis.imshow(matrices[i], cmap="RdBu", vmin=-top, vmax=top)
        axis.set(xticks=[], yticks=[])
plt.show()

# %%
from curvae.metrics import relative_distance

row, column = torch.tril_indices(10, 10, offset=-1)


def correlation(one, other):
    """Of the entries below the diagonal, for each digit."""
    one, other = (m[:, row, column] - m[:, row, column].mean(1, keepdim=True) for m in (one, other))
    return torch.cosine_similarity(one, other)


def show(name, values):
    half = 1.96 * values.std() / len(values) ** 0.5
    print(f"{name}: {values.mean():.3f}, 95 % interval {values.mean() - half:.3f} to {values.mean() + half:.3f}")


own, others = correlation(precision, implied), correlation(precision, implied.roll(1, 0))
show("correlation off the diagonal", own)
show("the same with the Jacobian of another digit", others)
show("difference", own - others)
show("relative distance", relative_distance(precision, implied))

# %% [markdown]
# The encoder has never seen the Jacobian, yet its precision follows it from digit to digit: the correlation with the
# digit's own Jacobian is the higher one. The intervals are over the digits of one model after a short run; the results
# pages have longer ones.
#
# ## Active latents
#
# A latent that the decoder ignores has a mean that does not vary and a posterior equal to the prior. A full covariance
# leaves the latents free to rotate, so that an unused direction need not be an axis. With a diagonal one the axes mean
# something, and a strong β switches some of them off. `active_units` looks at the means, `unit_divergence` at the whole
# posterior:

# %%
from curvae.metrics import active_units, unit_divergence

diagonal = train(posteriors.Diagonal(), beta=3.0, steps=500)
units = active_units(diagonal, digits.test[:500])
nats = unit_divergence(diagonal, digits.test[:500])
print("active:", units.count, "of 10")

# %% alt="Bars: the variance of each latent's mean, and its divergence from the prior"
figure, (left, right) = plt.subplots(1, 2, figsize=(7, 2.4), layout="constrained")
left.bar(range(10), units.variance)
left.axhline(units.threshold, color="gray", lw=1)
left.set(xlabel="latent", ylabel="variance of the mean")
right.bar(range(10), nats)
right.set(xlabel="latent", ylabel="KL to the prior, nats")
plt.show()

# %% [markdown]
# ## Geodesics
#
# $G(z)=J^\top J$ measures how far the decoded image moves when the latent does. By the identity above a posterior
# knows it too: $G=\beta(\Sigma^{-1}-I)$. Under this metric the shortest path between two codes is a geodesic, and not
# the straight line:

# %%
from curvae.geometry import energy, from_covariance, geodesic, length, pullback

with torch.no_grad():
    z = model.encode(x)
    measured, read = pullback(model.decode, z), from_covariance(q.covariance(), BETA)
show("metric from the posterior, relative distance to JᵀJ", relative_distance(read, measured))

start, end = z[0:16], z[16:32]
path = geodesic(partial(energy, model.decode), start, end, nodes=17, iterations=100)
line = torch.lerp(start[:, None], end[:, None], torch.linspace(0, 1, 17)[:, None])
with torch.no_grad():
    saved = 1 - length(model.decode, path.curve) / length(model.decode, line)
half = 2.13 * saved.std() / len(saved) ** 0.5  # Student's t with 15 degrees of freedom
low, high = saved.mean() - half, saved.mean() + half
print(f"a geodesic is shorter by {saved.mean():.1%}, 95 % interval {low:.1%} to {high:.1%} over {len(saved)} pairs")

# %% alt="Two rows of decoded images between two digits: along the straight line and along the geodesic"
pair = saved.argmax()
figure, axes = plt.subplots(2, 9, figsize=(7, 1.8))
for curve, axis_row, name in ((line, axes[0], "straight"), (path.curve, axes[1], "geodesic")):
    axis_row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    with torch.no_grad():
        images = model.decode(curve[pair, ::2])
    for axis, image in zip(axis_row, images, strict=True):
        axis.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The picture shows the pair whose path gains most. A geodesic moves at constant speed, as the image sees it; a straight
# line does not:

# %% alt="How far the decoded image moves in each step, along the straight line and along the geodesic"
with torch.no_grad():
    for curve, name in ((line, "straight"), (path.curve, "geodesic")):
        steps = model.decode(curve[pair]).flatten(1).diff(dim=0).norm(dim=1)
        plt.plot(range(1, 17), steps, marker="o", ms=3, label=name)
plt.gcf().set_size_inches(5, 2.4)
plt.ylim(bottom=0)
plt.xlabel("step")
plt.ylabel("distance moved")
plt.legend()
plt.show()
