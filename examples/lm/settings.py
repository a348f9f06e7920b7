"""The settings of a run."""

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class Settings:
    """All settings that determine the results of a run, and a few that do not (`FREE`)."""

    cell: str
    backend: str
    sampling: str
    optimizer: str
    lr: float
    clip: float
    epochs: int
    hidden: int
    layers: int
    init: str
    steps: int
    batch_size: int
    corpus: str
    max_chars: int
    device: str
    seed: int
    report_every: int


NAMES = tuple(field.name for field in fields(Settings))
FREE = ("epochs", "report_every", "corpus")  # may differ in a resumed run; the corpus is compared by its text
INITS = ("normal", "xavier")  # of the recurrent weights, see `model.CharModel`
DEFAULT_LR = {"sgd": 100.0, "adam": 0.01}
