"""PyTorch's own tests of recurrent layers and dropout, with our classes in the place of torch's.

The tests are those of a checkout of PyTorch, of the version that is installed; none of them is part of this repository.

```
git clone --depth 1 --branch v2.13.0 https://github.com/pytorch/pytorch
python -m tests.torch_suite --folder pytorch/test
```

The runner takes `test_nn.py`, `nn/test_packed_sequence.py` and `nn/test_dropout.py`, those of them that the folder has. It runs
the tests in two processes: one with torch.nn as it is, one with ours (`classes.py`). Then it compares the outcomes of each test
(`compare.py`). What differs is listed with its reason in `known.py`. The list is of runs on a CPU. There PyTorch's tests look
at shapes, errors, states and whether gradients flow; those that compare values compare a CPU with cuDNN, and need a GPU.

Only tests that can reach the classes are run: those with a word of `selection.WORDS` in their name, or among the names and
strings of their code and of the functions of the file that it uses. `--all` runs every test of the files.

The files need a PyTorch of their own version, and the packages of the extra `test`. Files beside these three that they import
must be in the folder too.

The exit status is 0 if nothing differs but what is listed. It is 1 if something else does, if something listed does not,
or if there is nothing to compare. It is 2 if the files are not there or cannot be run.
"""
