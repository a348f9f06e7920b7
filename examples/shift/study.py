"""The study of one draw of one world: loss of accuracy, detection and correction."""

from dataclasses import dataclass

import numpy as np

from .correction import fit, input_weights, label_weights
from .detection import by_errors, by_inputs, by_predictions
from .worlds import Array, World

N, LABELLED = 4000, 200  # samples per set; labelled target samples for the third test


@dataclass(frozen=True)
class Study:
    """Accuracies on the target, the p-values of three tests, and the estimated weights.

    `own` is the accuracy of the same classifier trained on labelled target samples; the gap is own - plain.
    """

    at_home: float
    plain: float
    own: float
    by_inputs: float
    by_labels: float
    p_predictions: float
    p_inputs: float
    p_errors: float
    label_weights: Array
    input_weight_error: float
    lines: dict[str, Array]


def study(world: World, seed: int) -> Study:
    """Draw samples; train on the source without and with corrections, and on the target; evaluate on the target."""
    draw = np.random.default_rng(seed)
    source, held_out = world.source(draw, N), world.source(draw, N)
    target, judge, own = (world.target(draw, N) for _ in range(3))  # labels of `target` are used only in `labelled`

    plain = fit(source)
    classes = len(plain.classes_)
    on_source, on_target = plain.predict(held_out.x), plain.predict(target.x)
    of_labels = label_weights(on_source, held_out.y, on_target, classes)
    of_inputs = input_weights(source.x, target.x)
    models = {
        "plain": plain,
        "weighted by inputs": fit(source, of_inputs),
        "weighted by labels": fit(source, of_labels[source.y]),
        "trained on the target": fit(own),
    }
    accuracy = [model.score(judge.x, judge.y) for model in models.values()]
    labelled = target[:LABELLED]
    return Study(
        at_home=plain.score(held_out.x, held_out.y),
        plain=accuracy[0],
        by_inputs=accuracy[1],
        by_labels=accuracy[2],
        own=accuracy[3],
        p_predictions=by_predictions(on_source, on_target, classes),
        p_inputs=by_inputs(held_out.x, target.x),
        p_errors=by_errors(on_source != held_out.y, plain.predict(labelled.x) != labelled.y),
        label_weights=of_labels,
        input_weight_error=float(np.abs(np.log(of_inputs / world.true_input_ratio(source.x))).mean()),
        lines={name: np.column_stack([model.coef_, model.intercept_]) for name, model in models.items()},
    )
