"""Reading and checking Kaggle's two CSV files; errors are one line."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pooch
from pandas.api.types import is_numeric_dtype

from examples.common.errors import UserError

LABEL, KEY = "SalePrice", "Id"
LARGEST = 1e12  # limit for numbers in the tables, whose squares must fit in float32
NAMES = {"train": ("train.csv", "kaggle_house_pred_train.csv"), "test": ("test.csv", "kaggle_house_pred_test.csv")}
SHA1 = {"585e9cc93e70b39160e7921475f9bcd7d31219ce", "fa19780a7b011d9b009e8bff8e99922a8ee2eb90"}


@dataclass(frozen=True)
class Tables:
    """Two tables with the same features and the column Id; `train` also has SalePrice."""

    train: pd.DataFrame
    test: pd.DataFrame
    source: str
    is_fallback: bool = False


def read_tables(folder: Path) -> Tables:
    """Read train.csv and test.csv (or kaggle_house_pred_train.csv and ..._test.csv) and check them.

    Raises:
        UserError: a file is missing, empty, not a CSV in UTF-8, or has other columns than the competition.
    """
    paths = {part: _find(folder, names) for part, names in NAMES.items()}
    train, test = (_read(path) for path in paths.values())
    _check(train, test, paths)
    published = {pooch.file_hash(str(path), alg="sha1") for path in paths.values()} == SHA1
    kind = "Kaggle's files" if published else "tables in Kaggle's format, other files than the published ones"
    return Tables(train, test, f"{kind}, {len(train)} + {len(test)} houses, {train.shape[1] - 2} columns")


def _find(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"expected {' or '.join(names)} in {folder}, got neither")


def _read(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, encoding="utf-8")
    except (OSError, ValueError) as error:  # ParserError, EmptyDataError and a wrong encoding are ValueErrors
        reason = " ".join(str(error).split())
        raise UserError(f"expected a CSV file in UTF-8, got {path}: {reason}") from error
    if table.empty:
        raise UserError(f"expected at least one house, got none in {path}")
    return table


def _check(train: pd.DataFrame, test: pd.DataFrame, paths: dict[str, Path]) -> None:
    for table, path, needed in ((train, paths["train"], {KEY, LABEL}), (test, paths["test"], {KEY})):
        if missing := sorted(needed - set(table)):
            raise UserError(f"expected the column {missing[0]} in {path}, got {_some(list(map(str, table)))}")
    features = [str(name) for name in train if name not in (KEY, LABEL)]
    others = [str(name) for name in test if name != KEY]
    if not features or set(features) != set(others):
        different = sorted(set(features) ^ set(others))
        raise UserError(f"expected the same features in both files, got {_some(different)} in only one of them")
    for table, column, part in ((train, LABEL, "train"), (train, KEY, "train"), (test, KEY, "test")):
        if not is_numeric_dtype(table[column]) or table[column].isna().any():
            raise UserError(f"expected a number in every row of {column}, got others in {paths[part]}")
    for table, part in ((train, "train"), (test, "test")):
        for name in table.select_dtypes("number"):
            if (table[name].abs() > LARGEST).any():
                raise UserError(f"expected numbers up to {LARGEST:g} in {name}, got larger ones in {paths[part]}")
    for table, part in ((train, "train"), (test, "test")):
        keys = table[KEY]
        if (keys != keys.round()).any() or keys.duplicated().any():
            raise UserError(f"expected whole numbers in {KEY}, each once, got others in {paths[part]}")
    if not (train[LABEL] > 0).all():
        raise UserError(f"expected prices above 0, got {train[LABEL].min()} in {paths['train']}")
    for name in features:
        for one, other, path in ((train, test, paths["test"]), (test, train, paths["train"])):
            text = other[name][pd.to_numeric(other[name], errors="coerce").isna()].dropna()
            if is_numeric_dtype(one[name]) and one[name].notna().any() and len(text):
                raise UserError(f"expected numbers in {name} as in the other file, got {text.iloc[0]!r} in {path}")


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") if names else "no columns"
