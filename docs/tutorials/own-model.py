# %% [markdown]
# # Your own encoder, decoder and likelihood
#
# curvae asks little of your code. The encoder maps a batch to features, the decoder maps latents to the parameters of
# an observation model, and an observation model says how likely the data are. This page writes all three for a small
# data set: the 8 × 8 digits of scikit-learn. Each of their pixels counts the dark points in a square of 4 × 4: a
# number from 0 to 16, for which neither a Gaussian nor a Bernoulli is right, but a binomial.

# %%
import math

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_digits
from torch import nn

from curvae import Autoencoder, objectives

images = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1)
images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(0))]
train, test = images[:1500], images[1500:]
train.shape, train.unique()

# %% [markdown]
# ## Encoder and decoder
#
# Plain modules. The encoder ends in features; `Autoencoder` adds the linear head for the mean. Convolutions, residual
# connections and normalisation need nothing special, and the decoder's Jacobian is computed through them.


# %%
class Encoder(nn.Module):
    out_features = 128

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ELU(), nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.ELU(), nn.Flatten()
        )
        self.last = nn.Sequential(nn.Linear(512, 128), nn.ELU())

    def forward(self, x):
        return self.last(self.layers(x / 16))


class Decoder(nn.Module):
    def __init__(self, latents):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(latents, 128), nn.ELU())
        self.middle = nn.Sequential(nn.Linear(128, 128), nn.BatchNorm1d(128), nn.ELU())
        self.last = nn.Linear(128, 64)

    def forward(self, z):
        features = self.first(z)
        return self.last(features + self.middle(features)).view(-1, 1, 8, 8)


# %% [markdown]
# ## Likelihood
#
# With logits $\eta$ and $n=16$,
#
# $$-\log p(x;\eta)=n\log(1+e^\eta)-x\eta-\log\tbinom nx,$$
#
# and its second derivative in $\eta$ is $n\,s(1-s)$ with $s$ the sigmoid of $\eta$. An `ElementwiseLikelihood` needs
# five methods: the first without what does not depend on $\eta$, the last one that second derivative. It must not be
# negative: where it can be, as for heavy tails, give its expectation under the model.

# %%
from curvae.likelihoods import ElementwiseLikelihood


class Binomial(ElementwiseLikelihood):
    def __init__(self, n):
        self.n = n

    def nll(self, eta, x):
        return (self.n * nn.functional.softplus(eta) - x * eta).flatten(1).sum(1)

    def log_prob(self, eta, x):
        choices = math.lgamma(self.n + 1) - torch.lgamma(x + 1) - torch.lgamma(self.n - x + 1)
        return choices.flatten(1).sum(1) - self.nll(eta, x)

    def mean(self, eta):
        return self.n * eta.sigmoid()

    def sample(self, eta, generator=None):
        points = torch.rand((self.n, *eta.shape), generator=generator, device=eta.device) < eta.sigmoid()
        return points.sum(0).to(eta)

    def curvature(self, eta, x):
        s = eta.sigmoid()
        return self.n * s * (1 - s)


# %% [markdown]
# Check a likelihood before you train with it. The probabilities have to sum to one, and the curvature has to be the
# second derivative:

# %%
binomial = Binomial(16)
eta = torch.linspace(-4, 4, 5, dtype=torch.float64).view(5, 1)
counts = torch.arange(17, dtype=torch.float64)
total = sum(binomial.log_prob(eta, torch.full_like(eta, x)).exp() for x in counts)

second = torch.func.vmap(torch.func.hessian(lambda e: binomial.nll(e.view(1, 1), torch.full((1, 1), 3.0)).sum()))
print("sum of the probabilities ", total)
print("curvature                ", binomial.curvature(eta, torch.full_like(eta, 3.0)).flatten())
print("second derivative        ", second(eta).flatten())
torch.testing.assert_close(total, torch.ones_like(total))
torch.testing.assert_close(binomial.curvature(eta, eta).flatten(), second(eta).flatten())

# %% [markdown]
# ## Training
#
# The objective takes the likelihood; nothing else changes. With β = 1 this is the closed form of an ELBO.

# %%
torch.manual_seed(0)
model = Autoencoder(Encoder(), Decoder(6), latents=6)
objective = objectives.GRAE(beta=1.0, likelihood=binomial)
optimiser = torch.optim.Adam(model.parameters(), lr=2e-3)
history = []
for _ in range(20):
    for x in torch.utils.data.DataLoader(train, batch_size=64, shuffle=True):
        loss = objective(model, x).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        history.append(loss.item())

# %% alt="The training loss falls and levels off"
plt.figure(figsize=(5, 2.5))
plt.plot(history, lw=1)
plt.xlabel("step")
plt.ylabel("objective, without constants")
plt.show()
# %% [markdown]
# ## Using it
#
# A decoder's output is what the likelihood takes: its `mean` is the picture, its `sample` a new observation.

# %% alt="Held-out digits, their reconstructions, and new digits decoded from the prior"
model = model.eval()
with torch.no_grad():
    eta = model.sample(10, torch.Generator().manual_seed(1))
    rows = {
        "held out": test[:10],
        "reconstructed": binomial.mean(model.reconstruct(test[:10])),
        "prior, mean": binomial.mean(eta),
        "prior, sample": binomial.sample(eta, torch.Generator().manual_seed(2)),
    }

figure, axes = plt.subplots(len(rows), 10, figsize=(7, 3))
for line, (name, pictures) in zip(axes, rows.items(), strict=True):
    line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    for axis, picture in zip(line, pictures, strict=True):
        axis.imshow(picture[0], cmap="gray_r", vmin=0, vmax=16)
        axis.set(xticks=[], yticks=[])
plt.show()

# %% [markdown]
# Since the likelihood is normalised, so is the estimate of $-\log p(x)$. Compare with a model that knows each pixel's
# frequency and nothing else:

# %%
from curvae.metrics import Implied, importance_weighted_nll

noise = torch.Generator().manual_seed(3)
found = importance_weighted_nll(Implied(model, 1.0, binomial), test, binomial, samples=200, generator=noise)
with torch.no_grad():
    frequency = (train.mean(0, keepdim=True) / 16).clamp(1e-3, 1 - 1e-3).logit().expand_as(test)
    pixels = -binomial.log_prob(frequency, test).double()

for name, values in {"GRAE": found.nll, "independent pixels": pixels, "difference": pixels - found.nll}.items():
    half = 1.96 * values.std() / len(values) ** 0.5
    print(f"{name:20}{values.mean():8.1f} ± {half:.1f} nats per image")

# %% [markdown]
# The intervals are over held-out images. That a model of six latents explains the digits better than independent
# pixels is the least one can ask; what the example shows is that nothing of the library had to know of the binomial.
