"""The perplexity curve."""

from pathlib import Path

from examples.common.figures import new_figure, save_figure


def plot_perplexity(path: Path, perplexity: list[float], title: str) -> None:
    """Draw perplexity over epochs on a log axis into a PNG."""
    figure = new_figure()
    axes = figure.subplots()
    axes.semilogy(range(1, len(perplexity) + 1), perplexity, marker="." if len(perplexity) < 10 else "")
    axes.set_xlabel("epoch")
    axes.set_ylabel("perplexity on the training text")
    axes.set_title(title)
    axes.grid(visible=True, which="both", alpha=0.3)
    save_figure(path, figure)
