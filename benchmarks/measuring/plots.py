"""Timed rows of records as one table, and figures of their ratios to torch.nn."""

from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd

matplotlib.use("Agg")
from matplotlib import pyplot

from benchmarks.measuring.records import DECISIONS, Record, load

LABEL = "torch.nn's time / this (above 1: faster)"


UNTIMED = {
    "predictions", "aot", "tests", "tuning", "cpu_pairs", "compile", "gate", "steps", "options", "auto", "timeline_flashrnn",
}  # fmt: skip


def records(results: Path) -> dict[str, Record]:
    """The records of timed runs, those of folders inside too, by path."""
    every = (path for path in sorted(results.rglob("*.json")) if DECISIONS not in path.relative_to(results).parts)
    paths = [path for path in every if path.stem not in UNTIMED]
    return {path.relative_to(results).as_posix(): load(path) for path in paths}


def frame(found: dict[str, Record]) -> pd.DataFrame:
    """All timed rows that have no error, with the device and commit of their record."""
    rows: list[dict[str, Any]] = []
    for name, record in found.items():
        told = {"file": name, "device": record.environment.get("device"), "commit": record.environment.get("commit")}
        rows += [{**told, **row} for row in record.rows if "error" not in row and "median_s" in row]
    return pd.DataFrame(rows)


def _save(figure: Any, path: Path) -> None:
    figure.tight_layout()
    figure.savefig(path, dpi=110, metadata={"Software": None})
    pyplot.close(figure)


def bars(rows: pd.DataFrame, path: Path) -> None:
    """A bar a case and peer, whiskers from p20 to p80."""
    peers = list(dict.fromkeys(rows["peer"]))
    keys = list(dict.fromkeys(rows["key"]))
    figure, axes = pyplot.subplots(figsize=(9, 1 + 0.28 * len(keys) * len(peers)))
    for index, peer in enumerate(peers):
        mine = rows[rows["peer"] == peer].drop_duplicates("key", keep="last").set_index("key").reindex(keys)
        places = [k * (len(peers) + 1) + index for k in range(len(keys))]
        spread = [mine["ratio"] - mine["ratio_p20"], mine["ratio_p80"] - mine["ratio"]]
        axes.barh(places, mine["ratio"], xerr=spread, label=peer, capsize=2)
    axes.set_yticks([k * (len(peers) + 1) + (len(peers) - 1) / 2 for k in range(len(keys))])
    axes.set_yticklabels([key.partition(": ")[2] for key in keys], fontsize=7)
    axes.invert_yaxis()
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_xlabel(LABEL)
    axes.legend()
    _save(figure, path)


def by_width(rows: pd.DataFrame, path: Path) -> None:
    """A panel a cell, dtype and pass; a line a batch size over H."""
    panels = list(rows.groupby(["cell", "dtype", "passes"]))
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = pyplot.subplots(lines, columns, figsize=(3.4 * columns, 2.8 * lines), squeeze=False)
    for axes, (name, panel) in zip(grid.flat, panels, strict=False):
        for B, line in panel.groupby("B"):
            line = line.sort_values("H").drop_duplicates("H", keep="last")
            axes.plot(line["H"], line["ratio"], marker="o", markersize=3, label=f"B={B}")
            axes.fill_between(line["H"], line["ratio_p20"], line["ratio_p80"], alpha=0.2)
        axes.set_title(" ".join(name), fontsize=8)
        axes.set_xscale("log", base=2)
        axes.axhline(1.0, color="black", linewidth=0.8)
        axes.set_xlabel("H")
        axes.legend(fontsize=6)
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    grid[0][0].set_ylabel(LABEL, fontsize=7)
    _save(figure, path)


def plot(found: dict[str, Record], folder: Path) -> list[Path]:
    """Draw the ratios of each record: by width where several widths were measured, else a bar a case."""
    drawn = []
    for name, record in found.items():
        rows = frame({name: record})
        if "ratio" not in rows:
            continue
        rows = rows[rows["ratio"].notna()]
        layer = rows[(rows["suite"] == "layer") & (rows["peer"] == "ours")]
        drawn.append((folder / name).with_suffix(".png"))
        if layer["H"].nunique() > 1:
            by_width(layer, drawn[-1])
        else:
            bars(rows, drawn[-1])
    return drawn
