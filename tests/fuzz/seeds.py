#!/usr/bin/env python3
"""seeds.py FOLDER: writes a folder of small good files for each fuzzer, FOLDER/READER/*, from the fixtures and by hand."""
import json
import pathlib
import shutil
import struct
import sys
import zipfile

FIXTURES = pathlib.Path(__file__).resolve().parents[1] / "weights/fixtures"


def safetensors(tensors, metadata=None):
    """tensors: name -> (dtype, shape, bytes)"""
    header, body = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def npy(descr, fortran, shape, data):
    header = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def main():
    out = pathlib.Path(sys.argv[1])
    folders = {name: out / name for name in ("safetensors", "zip", "torch_legacy", "pickle", "torch_tar", "npy", "onnx")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)

    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
             "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
    for dtype, size in sizes.items():
        data = safetensors({"w": (dtype, [2, 3], bytes(range(6 * size)) if dtype != "BOOL" else bytes([0, 1] * 3))})
        (folders["safetensors"] / dtype).write_bytes(data)
    (folders["safetensors"] / "several").write_bytes(safetensors(
        {"scalar": ("F32", [], struct.pack("<f", 2.5)), "empty": ("F16", [0, 4], b""),
         "conv.weight": ("F32", [1, 2, 1, 1], struct.pack("<2f", 1, -1)), "n": ("I64", [1], struct.pack("<q", 3))},
        {"format": "pt", "model": "x"}))

    for path in [*FIXTURES.glob("*.zip.pt"), *FIXTURES.glob("*.jit.pt")]:
        if path.stat().st_size < 20000:
            shutil.copy(path, folders["zip"] / path.name)
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    (folders["pickle"] / path.name).write_bytes(archive.read(name))
    for path in FIXTURES.glob("arrays.*.npz"):
        if path.stat().st_size < 10000:
            shutil.copy(path, folders["zip"] / path.name)
        with zipfile.ZipFile(path) as archive:
            for number, name in enumerate(archive.namelist()):
                (folders["npy"] / f"{path.stem}.{number}").write_bytes(archive.read(name))
    (folders["npy"] / "by_hand").write_bytes(npy("<f4", False, (2, 3), bytes(24)))
    for path in FIXTURES.glob("*.onnx"):
        if path.stat().st_size < 10000:
            shutil.copy(path, folders["onnx"] / path.name)
    for path in FIXTURES.glob("*.tar*"):
        shutil.copy(path, folders["torch_tar"] / path.name)
    for path in FIXTURES.glob("*.legacy.pt"):
        if path.stat().st_size < 10000:
            shutil.copy(path, folders["torch_legacy"] / path.name)


if __name__ == "__main__":
    main()
