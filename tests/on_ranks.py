"""Fits the rows of a file on all processes: ``torchrun --nproc-per-node 2 on_ranks.py rows.npy fit.safetensors``."""

import os
import sys

import numpy as np

import sklearn_ae

if __name__ == "__main__":
    rows, file = sys.argv[1:]
    X = np.load(rows, mmap_mode="r")  # the same table in every process
    model = sklearn_ae.VariationalAutoencoder(8, hidden_layer_sizes=(512, 256), batch_size=1024, random_state=0)
    with sklearn_ae.distributed(timeout=600):
        model.fit(X)
    if os.environ["RANK"] == "0":  # all processes have the same model
        model.save(file)
