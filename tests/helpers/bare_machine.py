"""A machine with a GPU and nothing but torch, triton, numpy, pandas, matplotlib and pytest, as Python processes see it."""

import os

ABSENT = (
    "build", "cloudpickle", "einops", "einx", "execnet", "expecttest", "flatbuffers", "google", "gymnasium", "hypothesis",
    "joblib", "loguru", "ml_dtypes", "mypy", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "opacus", "opt_einsum",
    "platformdirs", "pooch",
    "psutil", "pytest_benchmark", "pytest_timeout", "requests", "sb3_contrib", "scipy", "sklearn", "stable_baselines3",
    "torch_geometric", "torchao", "tqdm", "urllib3", "x_transformers", "xdist",
)  # fmt: skip
"""Packages that `make setup` installs in addition."""
BLOCK = f"""
import sys
from importlib.machinery import PathFinder

class Others:
    find_distributions = PathFinder.find_distributions
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in {ABSENT} else PathFinder.find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Others
"""


def environment(folder):
    """Environment variables for a Python process, and those that it starts, in which nothing of `ABSENT` can be imported."""
    (folder / "sitecustomize.py").write_text(BLOCK)
    paths = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": paths, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
