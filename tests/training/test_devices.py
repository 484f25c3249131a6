"""The table of devices: its entries, and what reads them."""

import re
from pathlib import Path

import pytest
import torch

import sklearn_ae
from sklearn_ae.training import cuda_graph
from sklearn_ae.training.devices import CUDA, HOST, OTHER, capabilities

ROOT = Path(sklearn_ae.__file__).parent


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", HOST), (torch.device("cpu"), HOST), ("cuda:1", CUDA), (torch.device("cuda"), CUDA), ("mps", OTHER)],
    ids=["cpu", "a CPU", "cuda:1", "a GPU", "mps"],
)
def test_a_device_has_the_capabilities_of_its_kind(device, expected):
    assert capabilities(device) is expected


def test_a_kind_that_is_not_known_records_no_step():
    assert HOST.records_steps
    assert CUDA.records_steps
    assert CUDA.capture is cuda_graph.record
    assert not OTHER.records_steps


def test_no_other_file_of_the_training_asks_for_the_kind_of_a_device():
    asking = {path.name for path in (ROOT / "training").glob("*.py") if re.search(r"\.type [!=]=", path.read_text())}
    assert asking == set()
