"""Conversion of the tables to numeric features."""

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from .tables import KEY, LABEL, Tables


@dataclass(frozen=True)
class Houses:
    """Features, (n, features) and (m, features), prices, (n,), all float32; names of the features; Ids of the test houses."""

    train: Tensor
    prices: Tensor
    test: Tensor
    names: list[str]
    test_ids: list[int]


def prepare(tables: Tables) -> Houses:
    """Standardise numeric columns over both tables, with 0 (the mean) for missing values; one-hot encode the others.

    Each text column has one more indicator for "missing". (pandas reads the text None as missing, so MasVnrType has four
    indicators, and Kaggle's files give 330 features.) Means and categories include the test features, which are known in
    the competition when the model is trained; prices are not used.
    """
    labels = tables.train[LABEL]
    both = pd.concat([tables.train.drop(columns=[KEY, LABEL]), tables.test.drop(columns=[KEY])], ignore_index=True)
    numeric = both.select_dtypes("number").columns  # not "all but object": text has another dtype in pandas 3
    scale = both[numeric].std().replace(0.0, 1.0)
    both[numeric] = ((both[numeric] - both[numeric].mean()) / scale).fillna(0.0)
    text = both.columns.difference(numeric, sort=False)
    both = pd.get_dummies(both, columns=list(text), dummy_na=True, dtype="float32")
    features = torch.tensor(both.to_numpy(dtype="float32"))
    return Houses(
        train=features[: len(labels)],
        prices=torch.tensor(labels.to_numpy(dtype="float32")),
        test=features[len(labels) :],
        names=list(both.columns),
        test_ids=tables.test[KEY].tolist(),
    )
