# %% [markdown]
# # From a β-VAE to a GRAE
#
# A β-VAE encodes a digit to a normal distribution, decodes a sample of it, and pays for the distribution's distance
# to the prior. The noise of that sample acts on the decoder like a penalty on its Jacobian. A GRAE has no noise and
# adds the penalty itself:
#
# $$\tfrac12\|x-g(h(x))\|^2+\tfrac\beta2\|h(x)\|^2+\tfrac\beta2\log\big|I+\tfrac1\beta J_g^\top J_g\big|.$$
#
# This page trains both on MNIST with one loop and compares them on digits that neither has seen. The networks are
# small and the training takes seconds, so the pictures are blurred.

# %%
import matplotlib.pyplot as plt
import torch

from curvae import Autoencoder, curvature, objectives, posteriors
from curvae.data import Batches, as_float, load
from curvae.nn import MLPDecoder, MLPEncoder

digits = load("mnist")
held_out = as_float(digits.test[:1000])
held_out.shape

# %% [markdown]
# ## A β-VAE
#
# Any encoder and decoder will do. `structure` says which covariances the posterior may have; the model adds a head
# for them to the encoder.


# %%
def network(structure=None):
    torch.manual_seed(0)
    encoder = MLPEncoder((1, 28, 28), hidden=(256, 128))
    decoder = MLPDecoder(8, (1, 28, 28), hidden=(128, 256), output=torch.nn.Sigmoid())
    return Autoencoder(encoder, decoder, latents=8, structure=structure)


def train(model, objective, steps=500):
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(0)
    for x in Batches(digits.train, batch_size=64, seed=0, steps=steps):
        loss = objective(model, x, generator).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


vae = train(network(posteriors.Diagonal()), objectives.BetaVAE(beta=0.2))

# %% [markdown]
# ## The same without noise
#
# Two things change: the model has no covariance, since the closed form has already chosen the best one, and the
# objective is `GRAE`. The structure is still the family that the covariance is chosen from: `Full()` gives the formula
# above, `Diagonal()` keeps the diagonal of $J_g^\top J_g$ alone.

# %%
exact = objectives.GRAE(beta=0.2, structure=posteriors.Diagonal())
grae = train(network(), exact)

# %% [markdown]
# This computes all eight columns of the Jacobian for each digit. One column, drawn at random, estimates the same
# penalty without bias at a fraction of the cost. It is what to use for training:

# %%
sampled = objectives.GRAE(beta=0.2, structure=posteriors.Diagonal(), estimator=curvature.Columns(1))
cheap = train(network(), sampled)

# %% [markdown]
# ## Reconstructions

# %% alt="Eight digits and their reconstructions by the three models"
models = {"β-VAE": vae, "GRAE": grae, "GRAE, one column": cheap}
with torch.no_grad():
    rows = {"digits": held_out[:8], **{name: model.reconstruct(held_out[:8]) for name, model in models.items()}}

figure, axes = plt.subplots(len(rows), 8, figsize=(7, 3.6))
for line, (name, images) in zip(axes, rows.items(), strict=True):
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axis, image in zip(line, images, strict=True):
        axis.imshow(image[0], cmap="gray_r", vmin=0, vmax=1)
        axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## What the objective is made of
#
# An objective returns named terms with one value for each sample. Because all three models have a mean and a decoder,
# all of them can be measured by the GRAE's objective.

# %%
with torch.no_grad():
    terms = {name: exact(model, held_out) for name, model in models.items()}
print(f"{'':18}" + "".join(f"{part:>9}" for part in terms["GRAE"].parts) + "    total")
for name, found in terms.items():
    print(f"{name:18}" + "".join(f"{v.mean():9.2f}" for v in [*found.parts.values(), found.total]))

# %% [markdown]
# The models see the same digits, so compare them digit by digit:


# %%
def difference(one, other):
    values = terms[one].total - terms[other].total
    half = 1.96 * values.std() / len(values) ** 0.5
    print(
        f"{one} − {other}: {values.mean():.2f}, 95 % interval {values.mean() - half:.2f} to {values.mean() + half:.2f}"
    )


difference("β-VAE", "GRAE")
difference("GRAE, one column", "GRAE")

# %% [markdown]
# The interval is over digits: it tells how sure the difference is between *these* models, trained once and briefly.
# What the objectives do over several seeds and longer training is measured on the results pages.
#
# ## Where the noise went
#
# The GRAE still has a posterior: the covariance that its objective has optimised away, $\Sigma^*=(I+\tfrac1\beta
# J^\top J)^{-1}$, here its diagonal version. `Implied` puts it back, so that a GRAE can be used wherever a posterior
# is expected.

# %% alt="Scatter of the standard deviations of the latents: the β-VAE's own against those its decoder implies"
from curvae.metrics import Implied

with torch.no_grad():
    own = vae.posterior(held_out).covariance().diagonal(dim1=1, dim2=2).sqrt()
    implied = Implied(vae, beta=0.2, structure=posteriors.Diagonal()).posterior(held_out)
    implied = implied.covariance().diagonal(dim1=1, dim2=2).sqrt()

plt.figure(figsize=(4, 4))
plt.scatter(implied[:200].flatten(), own[:200].flatten(), s=3, alpha=0.4)
plt.axline((0, 0), slope=1, color="gray", lw=1)
plt.xlabel("implied by the decoder")
plt.ylabel("learned by the β-VAE")
plt.show()
# %%
print(f"correlation of log σ: {torch.corrcoef(torch.stack([own.log().flatten(), implied.log().flatten()]))[0, 1]:.2f}")

# %% [markdown]
# Nothing told the β-VAE's encoder about the decoder's Jacobian. The line is where the theory says a fully trained
# β-VAE ends up; after a few hundred steps it is on its way.
