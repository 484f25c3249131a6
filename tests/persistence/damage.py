"""Damaged and malicious files: mutations of a saved file, some with a right checksum."""

import io
import json
import pickle
import zipfile
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from sklearn_ae.persistence.files import checksum

ODD = [None, True, -1, 0, 2**31, 2**62, 1e308, "", "cuda", "cpu", "../../etc/passwd", "O", [], [0], [10**9], [-1]]
NAMES = ["os.system", "builtins.eval", "sklearn_ae.persistence.files.os.system", "subprocess.Popen", "torch.load"]
NAMES += ["sklearn_ae.parallel.StackingBackend", "sklearn_ae.model.model.Model", "sklearn_ae.objectives.terms.l1"]
NAMES += ["sklearn_ae.training.net.AutoencoderNet", "sklearn_ae.tables.frames.PandasContainer", "pickle.loads"]


class Bomb:
    def __reduce__(self):
        return print, ("this must never be run",)


def parts_of(path):
    with safe_open(path, framework="numpy") as file:
        header = file.metadata()
        return header, [file.get_tensor(str(place)) for place in range(len(file.keys()))]


def written(header, arrays):
    header = {**header, "sha256": checksum(header["content"], arrays)}
    return save({str(place): np.array(array, order="C") for place, array in enumerate(arrays)}, header)


def truncated(saved, random):
    return saved[: random.randint(len(saved))]


def with_flipped_bits(saved, random):
    damaged = bytearray(saved)
    for _ in range(random.randint(1, 4)):
        damaged[random.randint(len(damaged))] ^= 1 << random.randint(8)
    return bytes(damaged)


def with_flipped_header(saved, random):
    damaged = bytearray(saved)
    damaged[random.randint(200)] = random.randint(256)
    return bytes(damaged)


def with_a_huge_size(saved, random):
    start = 8 + saved[8:].find(b'"shape":[', random.randint(2000))
    digits = start + len(b'"shape":[')
    return saved[:digits] + b"99" + saved[digits + 2 :] if start > 8 else saved[:4]


def another_file(saved, random):
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("../../escaped", b"0" * 10_000_000)
    files = [pickle.dumps(Bomb()), memory.getvalue(), b"", b"\0" * 1000, b"\xff" * 16, pickle.dumps(Bomb()) + saved]
    return files[random.randint(len(files))]


def with_other_arrays(saved, random, path):
    header, arrays = parts_of(path)
    place = random.randint(len(arrays))
    array = arrays[place]
    others = [
        array.ravel()[:0],
        array.ravel()[:1],
        np.zeros((*array.shape, 2)),
        array.astype(np.int64),
        np.float32(np.nan),
    ]
    arrays[place] = np.asarray(others[random.randint(len(others))])
    return written(header, arrays)


def with_other_nodes(saved, random, path):
    header, arrays = parts_of(path)
    nodes = json.loads(header["content"])
    for _ in range(random.randint(1, 3)):
        _change(nodes, random)
    return written({**header, "content": json.dumps(nodes)}, arrays)


def _change(nodes, random):
    """Change one place in the nodes: a constant, a reference, a name, a kind, or the length of a list."""
    node = nodes[random.randint(len(nodes))]
    while isinstance(node, list) and node:
        place = random.randint(len(node))
        if not isinstance(node[place], list) or random.uniform() < 0.2:
            is_text = isinstance(node[place], str) and random.uniform() < 0.5
            node[place] = NAMES[random.randint(len(NAMES))] if is_text else ODD[random.randint(len(ODD))]
            return
        node = node[place]
    if isinstance(node, list):
        node.append([random.randint(len(nodes))])


def deep(saved, random, path):
    header, arrays = parts_of(path)
    depth = 10 ** random.randint(2, 6)
    return written({**header, "content": "[" * depth + "]" * depth}, arrays)


WAYS = [truncated, with_flipped_bits, with_flipped_header, with_a_huge_size, another_file]
WITH_CHECKSUM = [with_other_arrays, with_other_nodes, with_other_nodes, deep]


def damaged(path, number):
    """Return the number-th damaged version of a saved file, as bytes."""
    random, saved = np.random.RandomState(number), Path(path).read_bytes()
    place = number % (len(WAYS) + len(WITH_CHECKSUM))
    if place < len(WAYS):
        return WAYS[place](saved, random)
    return WITH_CHECKSUM[place - len(WAYS)](saved, random, path)
