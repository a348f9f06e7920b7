"""The record of `cpu_pairs` for people: a table of paths, the rows where ours is slower, and a figure."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot

from benchmarks.measuring.cpu_pairs import GOAL
from benchmarks.measuring.records import Record

CELLS = ("gru", "lstm", "rnn")
COLUMNS = [(cell, mode) for cell in CELLS for mode in ("inference", "training")]
BESIDE = {"torch.nn": "", "one-hot": "", "embedding": ", beside nn.Embedding of width H"}
"""How a line of the table names the rival: nothing if it is the same function of the same weights."""


def ratios(record: Record) -> pd.DataFrame:
    """One row a case and rival: threads, line (the path and the rival), cell, H, B, T, mode, ratio."""
    rows = [
        {**row, "line": row["path"] + BESIDE[rival], "ratio": ratio}
        for row in record.rows
        for rival, ratio in row["ratios"].items()
    ]
    return pd.DataFrame(rows)


def geometric_mean(values: Any) -> float:
    """Of positive numbers."""
    return float(np.exp(np.log(values).mean()))


def lines(found: pd.DataFrame) -> list[str]:
    """The lines of the table in the order of the record, those with a rival of other weights last."""
    order = list(dict.fromkeys(found["line"]))
    return sorted(order, key=lambda line: line.endswith(BESIDE["embedding"]))


def summary(found: pd.DataFrame) -> list[list[str]]:
    """For each line the geometric mean of the ratios and, in brackets, the smallest; and how many are below `GOAL`."""
    table = []
    for line in lines(found):
        mine = found[found["line"] == line]
        cells = [mine[(mine["cell"] == cell) & (mine["mode"] == mode)]["ratio"] for cell, mode in COLUMNS]
        shown = [f"{geometric_mean(each):.2f} ({each.min():.2f})" if len(each) else "" for each in cells]
        table.append([line, *shown, f"{(mine['ratio'] < GOAL).sum()} of {len(mine)}"])
    return table


def slow(found: pd.DataFrame) -> list[list[Any]]:
    """The rows below `GOAL`, line by line, the slowest first."""
    rows = found[found["ratio"] < GOAL]
    order = {line: place for place, line in enumerate(lines(found))}
    rows = rows.sort_values("ratio").sort_values("line", key=lambda each: each.map(order), kind="stable")
    columns = ["line", "cell", "mode", "H", "B", "T", "threads"]
    return [[*row[:-1], f"{row[-1]:.2f}"] for row in rows[[*columns, "ratio"]].itertuples(index=False, name=None)]


SHOWN = {
    "layer": "one layer", "two layers, two directions": "two layers, two directions",
    "dropout between layers": "dropout between layers", "lengths=": "lengths=, against packing", "packed": "packed",
    "ids": "token ids, against one-hot", "ids of 2000 words": "2000 words, against one-hot", "AWD-LSTM": "AWD-LSTM",
}  # fmt: skip
"""The paths of the README's figure, and how it names them."""
COLOURS = {
    "gru": "#0072B2",
    "lstm": "#D55E00",
    "rnn": "#009E73",
}  # of Okabe and Ito, which colour-blind readers can tell apart


def training_means(found: pd.DataFrame) -> Any:
    """The geometric mean of the ratios of training by line, of those `SHOWN`, and cell."""
    found = found[(found["mode"] == "training") & found["line"].isin(SHOWN)]
    return found.groupby(["line", "cell"])["ratio"].agg(geometric_mean)


def draw_training(found: pd.DataFrame, path: Path) -> None:
    """The README's figure: for each path and cell the geometric mean of the ratios of training, and their range as a line."""
    means = training_means(found)
    found = found[found["mode"] == "training"]
    figure, axes = pyplot.subplots(figsize=(8, 4.2), layout="constrained")
    for number, (cell, colour) in enumerate(COLOURS.items()):
        mine = found[found["cell"] == cell].groupby("line")["ratio"]
        heights = [place + 0.24 * (number - 1) for place in range(len(SHOWN))]
        axes.hlines(
            heights, mine.min().loc[list(SHOWN)], mine.max().loc[list(SHOWN)], color=colour, alpha=0.35, linewidth=2
        )
        axes.scatter([means[line, cell] for line in SHOWN], heights, s=36, color=colour, label=cell.upper(), zorder=3)
    axes.axvline(1.0, color="0.4", linewidth=0.8)
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.set_yticks(range(len(SHOWN)), SHOWN.values())
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.set_xlabel("time of torch.nn / time of fusedrnn; line: range over sizes, dot: geometric mean")
    title = f"Training on a CPU: {means.min():.1f} to {means.max():.1f} times as fast as with torch.nn, by path"
    axes.set_title(title, loc="left", fontsize=11)
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 0.25))
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def draw(found: pd.DataFrame, path: Path) -> None:
    """A dot a row, a line a path, inference above training; a bar at the geometric mean."""
    order = lines(found)
    figure, panels = pyplot.subplots(1, len(CELLS), figsize=(14, 1.2 + 0.42 * len(order)), sharey=True, sharex=True)
    for axes, cell in zip(panels, CELLS, strict=True):
        for shift, mode, colour in ((-0.18, "inference", "tab:blue"), (0.18, "training", "tab:orange")):
            mine = found[(found["cell"] == cell) & (found["mode"] == mode)]
            heights = mine["line"].map(order.index) + shift
            axes.scatter(mine["ratio"], heights, s=7, alpha=0.45, color=colour, linewidths=0, label=mode)
            means = mine.groupby(heights)["ratio"].agg(geometric_mean)
            axes.scatter(means, means.index, s=110, marker="|", color=colour, linewidths=2.5)
        axes.axvline(1.0, color="black", linewidth=0.8)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
        axes.set_title(cell.upper())
        axes.set_xlabel("rival's time / ours (right: ours is faster)")
    panels[0].set_yticks(range(len(order)), order, fontsize=8)
    panels[0].invert_yaxis()
    panels[-1].legend(loc="lower right", fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)
