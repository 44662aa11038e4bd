#!/usr/bin/env python3
"""Makes the NumPy archives in tests/weights/fixtures, with NumPy 1.24. Values are formulas that test_numpy.cpp repeats."""
import pathlib

import numpy as np

HERE = pathlib.Path(__file__).resolve().parent / "fixtures"


def arrays():
    d = {}
    for code in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"):
        for order in "<>":
            d[f"{order == '>' and 'big' or 'little'}.{code}"] = np.arange(100, 106).reshape(2, 3).astype(order + code)
    d["b1"] = np.array([True, False, True])
    d["fortran"] = np.asfortranarray(np.arange(24, dtype="<f4").reshape(2, 3, 4))
    d["fortran.big"] = np.asfortranarray(np.arange(24, dtype=">f8").reshape(2, 3, 4))
    d["scalar"] = np.float32(2.5)
    d["empty"] = np.zeros((0, 3), "<f4")
    d["strided"] = np.arange(24, dtype="<f4").reshape(4, 6)[::2, 1::2]  # numpy writes it gathered
    d["zeros"] = np.zeros((16, 16), "<f4")
    return d


if __name__ == "__main__":
    HERE.mkdir(exist_ok=True)
    np.savez(HERE / "arrays.stored.npz", **arrays())
    np.savez_compressed(HERE / "arrays.deflated.npz", **arrays())
