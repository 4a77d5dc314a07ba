"""Draw the rates of ``throughput.json`` into an SVG: ``python -m bench.tools.plot RESULTS IMAGE``; needs matplotlib."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib as mpl
from matplotlib.figure import Figure

OURS, THEIRS = "#1f6f54", "#9aa5b1"


def main(results: Path, image: Path) -> None:
    mpl.rcParams.update({"svg.hashsalt": "stockstream", "font.family": "sans-serif", "font.size": 10})
    runs = json.loads(results.read_text())["runs"]
    rates = {name: [run["ticks"] / run["seconds"] for run in each] for name, each in runs.items()}
    names = sorted(rates, key=lambda name: median(rates[name]))
    medians = [median(rates[name]) for name in names]
    errors = [
        [middle - min(rates[name]) for name, middle in zip(names, medians, strict=True)],
        [max(rates[name]) - middle for name, middle in zip(names, medians, strict=True)],
    ]
    figure = Figure(figsize=(8, 0.45 * len(names) + 1.1), layout="constrained")
    axes = figure.subplots()
    colours = [OURS if name.startswith("worker") else THEIRS for name in names]
    bars = axes.barh(names, medians, xerr=errors, color=colours, ecolor="#333333", capsize=3, log=True)
    axes.bar_label(bars, labels=[f" {value:,.0f}" for value in medians], padding=6)
    axes.set_xlim(min(medians) / 3, max(medians) * 6)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel("ticks a second (logarithmic): median, least and greatest")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    image.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(image, metadata={"Date": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
