"""The table that the command prints."""

from tests.published.check import Outcome

HEADINGS = (
    "package",
    "version",
    "what it is",
    "recurrent modules",
    "output",
    "gradient",
    "ONNX again",
    "ONNX to torch",
)


def table(outcomes: list[Outcome]) -> str:
    """One row for each model, columns aligned, differences as powers of ten.

    ONNX has the exporter of TorchScript first, then that of torch.export; "-" where the original cannot be exported.
    """
    rows = [HEADINGS, *(row(outcome) for outcome in outcomes)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip() for cells in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]])


def row(outcome: Outcome) -> tuple[str, ...]:
    """The cells of `HEADINGS`."""
    wheel = outcome.model.wheel
    kinds = [change.partition(" ")[0] for change in outcome.replaced.values()]
    recurrent = ", ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
    again, close = (
        ", ".join("-" if pair is None else difference(pair[k]) for pair in outcome.onnx.values()) for k in (0, 1)
    )
    columns = (difference(outcome.output), difference(outcome.gradient), again, close)
    return wheel.package, wheel.version, outcome.model.what, recurrent, *columns


def difference(value: float) -> str:
    """ "0" for equal to the bit."""
    return f"{value:.0e}" if value else "0"
