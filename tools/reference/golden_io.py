"""Writes safetensors files whose bytes depend on nothing but their contents.

The format: 8 bytes little-endian header length, a JSON header {name: {dtype, shape, data_offsets}}, the data.
Own writer because the package's puts metadata in an order that changes from run to run.
"""
import json
from importlib.metadata import version

import captum
import numpy as np
import torch

import networks

DTYPES = {np.dtype(np.int64): "I64", np.dtype(np.float32): "F32", np.dtype(np.uint8): "U8"}


def save(path, tensors: dict, metadata: dict):
    """Widest types first, then by name, so that every tensor is aligned to its own element size."""
    arrays = {name: np.ascontiguousarray(value) for name, value in tensors.items()}
    header = {"__metadata__": {key: str(metadata[key]) for key in sorted(metadata)}}
    blobs, offset = [], 0
    for name in sorted(arrays, key=lambda n: (-arrays[n].dtype.itemsize, n)):
        array = arrays[name]
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name}: not finite")
        blob = array.tobytes()
        # np.ascontiguousarray would make a 0-d tensor 1-d: the caller's own shape is what counts.
        header[name] = {"dtype": DTYPES[array.dtype], "shape": list(np.shape(tensors[name])),
                        "data_offsets": [offset, offset + len(blob)]}
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def metadata(model, pictures, grad_cam_layer):
    """Of a golden file of explanations."""
    return {"model": model, "seed": networks.SEED, "pictures": pictures, "grad_cam_layer": grad_cam_layer,
            "mean": networks.MEAN, "std": networks.STD, "torch": torch.__version__.split("a")[0],
            "zennit": version("zennit"), "captum": captum.__version__, "grad-cam": version("grad-cam"),
            "made_by": "tools/reference/generate.py"}
