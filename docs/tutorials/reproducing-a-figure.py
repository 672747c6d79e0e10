# %% [markdown]
# # Reproducing a figure
#
# `curvae reproduce FIGURE` makes a figure of the paper again: it trains what is needed, measures it, and writes the
# picture, a table and all numbers into one folder. Figure 3 compares the objectives of the β-VAE (2), its Taylor
# expansion (7) and the GRAE (13) on models trained as β-VAEs, for several β.
#
# `--scale smoke` shows in seconds that it all runs, and nothing else: eight training steps of tiny networks. `quick`
# takes minutes, `overnight` a night on two cores, `paper` has the paper's own settings and wants a GPU. The
# command stays the same.

# %% language="bash"
# curvae reproduce fig3 --scale smoke --runs runs --out fig3 --json

# %%
from pathlib import Path

sorted(str(path) for path in Path("fig3").iterdir())

# %% alt="Figure 3 at scale smoke: objectives, their gaps, and the gaps during training"
from IPython.display import Image, Markdown

Image("fig3/fig3.png")

# %% [markdown]
# The table that goes with it has 95 % intervals by the bootstrap. The gap (7) − (13) is computed twice, from the two
# objectives and by its formula, and the values of the two columns have to agree:

# %%
Markdown(Path("fig3/table.md").read_text(encoding="utf-8"))

# %% [markdown]
# ## The numbers and where they come from
#
# `summary.json` holds every number of figure and table, the configuration, and what they were computed with:
# versions, device, a digest of the data.

# %%
import json

summary = json.loads(Path("fig3/summary.json").read_text(encoding="utf-8"))
print(json.dumps(summary["config"], indent=2))
print("data", summary["data_digest"][:16], "torch", summary["measured_under"]["torch"])

# %% [markdown]
# ## Another setting
#
# `--set` changes one value of the scale. Models that have been trained stay in `--runs`; another call trains only
# what is missing. Measuring the same models on more digits therefore trains nothing:

# %% language="bash"
# curvae reproduce fig3 --scale smoke --set points=24 --runs runs --out more --json

# %%
more = json.loads(Path("more/summary.json").read_text(encoding="utf-8"))
print("changed:", more["changes"])
for name, found in (("6 digits", summary), ("24 digits", more)):
    last = found["blocks"]["1"]["gaps"][-1]["(7) − (13)"]
    print(
        name,
        *(
            f"β = {beta:g}: {gap['low']:.3f} to {gap['high']:.3f}"
            for beta, gap in zip(found["betas"], last, strict=True)
        ),
        sep="   ",
    )

# %% [markdown]
# A bootstrap over six digits is no basis for a conclusion, as the second line may show by missing the first. That is
# what the larger scales are for. What was run at them is kept in the repository under `results/`, in the same form, and
# shown on the results pages. `curvae reproduce --help` lists the figures, and `curvae report fig3` puts the outcome on
# one page of HTML.
