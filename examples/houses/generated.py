"""A generated housing data set, in place of Kaggle's tables, which may not be redistributed.

It resembles them: numeric and text columns, skewed areas, rare categories (some in one table only), values that are
missing at random and values that are missing because the house lacks the feature.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .tables import KEY, LABEL, Tables

TRAIN, TEST = 1460, 1459
IDLE_TEXT = {  # columns that the price does not depend on, the frequent category first; "-" is a missing value
    "Street": "Pave Grvl", "LotShape": "Reg IR1 IR2 IR3", "LandContour": "Lvl Bnk HLS Low", "Utilities": "AllPub NoSeWa",
    "LotConfig": "Inside Corner CulDSac FR2", "LandSlope": "Gtl Mod Sev", "Condition1": "Norm Feedr Artery RRAn PosN",
    "Condition2": "Norm Feedr Artery", "BldgType": "1Fam TwnhsE Duplex 2fmCon", "HouseStyle": "1Story 2Story 1.5Fin SLvl",
    "RoofStyle": "Gable Hip Flat", "Exterior2nd": "VinylSd MetalSd HdBoard Stucco", "MasVnrType": "- BrkFace Stone BrkCmn",
    "ExterQual": "TA Gd Ex Fa", "ExterCond": "TA Gd Fa Ex", "Foundation": "PConc CBlock BrkTil Slab",
    "BsmtCond": "TA Gd Fa -", "BsmtExposure": "No Av Gd Mn -", "BsmtFinType1": "Unf GLQ ALQ BLQ -",
    "BsmtFinType2": "Unf Rec LwQ -", "Heating": "GasA GasW Grav", "HeatingQC": "Ex TA Gd Fa", "CentralAir": "Y N",
    "Electrical": "SBrkr FuseA FuseF -", "Functional": "Typ Min2 Min1 Mod", "GarageFinish": "Unf RFn Fin -",
    "GarageQual": "TA - Fa Gd", "GarageCond": "TA - Fa Gd", "PavedDrive": "Y N P", "Fence": "- MnPrv GdPrv MnWw",
    "MiscFeature": "- Shed Gar2", "SaleType": "WD New COD Con",
}  # fmt: skip
IDLE_NUMBERS = (
    "BsmtFinSF1", "BsmtFinSF2", "BsmtUnfSF", "1stFlrSF", "2ndFlrSF", "LowQualFinSF", "BsmtFullBath", "BsmtHalfBath",
    "FullBath", "HalfBath", "KitchenAbvGr", "TotRmsAbvGrd", "GarageArea", "OpenPorchSF", "EnclosedPorch", "3SsnPorch",
    "ScreenPorch", "PoolArea", "MiscVal",
)  # fmt: skip
QUALITY = ["Po", "Fa", "TA", "Gd", "Ex"]


def generate_tables() -> Tables:
    """Generate the tables, the same in every call."""
    draw = np.random.default_rng(2016)
    houses = _houses(draw, TRAIN + TEST)
    train, test = houses[:TRAIN].copy(), houses[TRAIN:].drop(columns=[LABEL])
    train.loc[train.index[7], "RoofMatl"] = "Membran"  # a category that is not in the test table
    test.loc[test.index[5], "Exterior1st"] = "ImStucc"  # and one that is only in the test table
    source = f"a generated house table, {TRAIN} + {TEST} houses, {train.shape[1] - 2} columns; real ones: --data DIR"
    return Tables(train, test, source, is_fallback=True)


def _houses(draw: np.random.Generator, n: int) -> pd.DataFrame:
    neighbourhood = draw.integers(0, 25, n)
    quality = np.clip(np.round(draw.normal(6.1, 1.4, n)), 1, 10).astype(int)
    living = np.exp(draw.normal(7.27, 0.3, n)).round()
    lot = np.exp(draw.normal(9.1, 0.5, n)).round()
    built = np.clip(1971 + draw.normal(0, 25, n) + 6 * (quality - 6), 1875, 2010).round()
    remodelled = np.maximum(built, np.clip(draw.normal(1985, 20, n), 1950, 2010)).round()
    basement = np.where(draw.random(n) < 0.03, 0.0, (living * draw.uniform(0.4, 1.0, n)).round())
    cars = draw.choice([0, 1, 2, 3], n, p=[0.06, 0.25, 0.57, 0.12])
    fireplaces = draw.choice([0, 1, 2], n, p=[0.47, 0.45, 0.08])
    alley = draw.random(n) < 0.06
    kitchen = np.clip(np.round((quality - 6.1) / 2 + draw.normal(2.6, 0.5, n)), 0, 4).astype(int)
    pool = draw.random(n) < 0.005
    sale = draw.choice(["Normal", "Partial", "Abnorml", "Family"], n, p=[0.82, 0.09, 0.07, 0.02])
    log_price = (
        11.97
        + 0.09 * (quality - 6.1)
        + 0.55 * (np.log(living) - 7.27)
        + 0.09 * (np.log(lot) - 9.1)
        + 0.0022 * (built - 1971)
        + 0.001 * (remodelled - 1985)
        + 0.07 * (cars - 1.75)
        + 0.05 * (fireplaces > 0)
        + 0.05 * (kitchen - 2.6)
        - 0.08 * alley
        + 0.15 * pool
        - 0.1 * (basement == 0)
        + np.linspace(-0.2, 0.25, 25)[neighbourhood]
        + pd.Series(sale).map({"Normal": 0.0, "Partial": 0.08, "Abnorml": -0.1, "Family": -0.05}).to_numpy()
        + draw.normal(0, 0.1, n)
    )
    frame = {
        KEY: np.arange(1, n + 1),
        "MSSubClass": draw.choice([20, 30, 50, 60, 80, 120, 160], n),
        "MSZoning": draw.choice(["RL", "RM", "FV", "C (all)"], n, p=[0.78, 0.15, 0.05, 0.02]),
        "LotFrontage": _gaps(draw, np.sqrt(lot) * draw.uniform(0.5, 0.9, n), 0.17),
        "LotArea": lot,
        "Alley": _text(np.where(draw.random(n) < 0.5, "Grvl", "Pave"), present=alley),
        "Neighborhood": np.array([f"N{number:02d}" for number in range(25)])[neighbourhood],
        "OverallQual": quality,
        "OverallCond": np.clip(np.round(draw.normal(5.5, 1.1, n)), 1, 9),
        "YearBuilt": built,
        "YearRemodAdd": remodelled,
        "RoofMatl": draw.choice(["CompShg", "Tar&Grv", "WdShngl"], n, p=[0.98, 0.01, 0.01]),
        "Exterior1st": draw.choice(["VinylSd", "HdBoard", "MetalSd", "Wd Sdng"], n),
        "MasVnrArea": _gaps(draw, np.where(draw.random(n) < 0.6, 0.0, draw.gamma(2, 120, n)), 0.008),
        "BsmtQual": _text(np.array(QUALITY)[np.clip(kitchen + draw.integers(-1, 2, n), 0, 4)], present=basement > 0),
        "TotalBsmtSF": basement,
        "GrLivArea": living,
        "BedroomAbvGr": np.clip(np.round(living / 550 + draw.normal(0, 0.6, n)), 0, 8),
        "KitchenQual": np.array(QUALITY)[kitchen],
        "Fireplaces": fireplaces,
        "FireplaceQu": _text(np.array(QUALITY)[draw.integers(0, 5, n)], present=fireplaces > 0),
        "GarageType": _text(draw.choice(["Attchd", "Detchd", "BuiltIn"], n, p=[0.64, 0.29, 0.07]), present=cars > 0),
        "GarageYrBlt": np.where(cars > 0, built, np.nan),
        "GarageCars": cars,
        "WoodDeckSF": np.where(draw.random(n) < 0.5, 0.0, draw.gamma(2, 90, n)).round(),
        "PoolQC": _text(np.array(QUALITY)[draw.integers(1, 5, n)], present=pool),
        "MoSold": draw.integers(1, 13, n),
        "YrSold": draw.integers(2006, 2011, n),
        "SaleCondition": sale,
        **{name: _idle_text(draw, categories.split(), n) for name, categories in IDLE_TEXT.items()},
        **{name: np.where(draw.random(n) < 0.6, 0.0, draw.gamma(2, 100, n)).round() for name in IDLE_NUMBERS},
        LABEL: (np.exp(log_price) / 100).round() * 100,
    }
    return pd.DataFrame(frame)


def _gaps(draw: np.random.Generator, values: NDArray[np.float64], share: float) -> NDArray[np.float64]:
    """Make a share of the values missing at random."""
    return np.where(draw.random(len(values)) < share, np.nan, values.round())


def _text(values: NDArray[np.str_], *, present: NDArray[np.bool_]) -> pd.Series:
    """Make values missing where the feature is not `present`."""
    return pd.Series(values, dtype="object").where(present)


def _idle_text(draw: np.random.Generator, categories: list[str], n: int) -> pd.Series:
    """Draw categories, each a fifth as frequent as the previous one."""
    share = 0.2 ** np.arange(len(categories))
    values = draw.choice(categories, n, p=share / share.sum())
    return _text(values, present=values != "-")
