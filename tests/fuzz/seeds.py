#!/usr/bin/env python3
"""seeds.py FOLDER: writes good files for each fuzzer, FOLDER/READER/short/* (up to 2048 bytes) and long/*, from the fixtures and
by hand."""
import io
import json
import pathlib
import pickle
import struct
import sys
import tarfile
import types
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


def npz(method, arrays):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in arrays.items():
            archive.writestr(name + ".npy", data)
    return out.getvalue()


def torch_tar():
    """What PyTorch 0.1.9 wrote: one tensor of four floats, and a view of a part of it. Its names are only written down here."""
    names = types.ModuleType("torch")
    for name in ("FloatStorage", "FloatTensor"):
        setattr(names, name, type(name, (), {"__module__": "torch"}))
    sys.modules["torch"] = names

    class Numbered(int):
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return str(int(obj)) if isinstance(obj, Numbered) else None

    def dump(obj):
        return pickle.dumps(obj, protocol=2)

    body = io.BytesIO()
    Pickler(body, protocol=2).dump({"w": Numbered(1), "v": Numbered(2)})
    numbers = struct.Struct("<4q")
    parts = {
        "sys_info": dump({"protocol_version": 1000, "little_endian": True}),
        "pickle": body.getvalue(),
        "tensors": dump(2) + dump((1, 5, names.FloatTensor)) + numbers.pack(1, 4, 1, 0) +
        dump((2, 6, names.FloatTensor)) + numbers.pack(1, 2, 1, 0),
        "storages": dump(1) + dump((5, "cpu", names.FloatStorage)) + struct.pack("<q4f", 4, 1, 2, 3, 4) + dump([(6, 5, 1, 2)]),
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()[:4 * 1024]  # without the zeros after the last entry


def main():
    out = pathlib.Path(sys.argv[1])

    def seed(reader, name, data, longest=2048):
        folder = out / reader / ("short" if len(data) <= longest else "long")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)

    for reader in ("safetensors", "zip", "torch_legacy", "pickle", "torch_tar", "npy", "onnx"):
        for length in ("short", "long"):
            (out / reader / length).mkdir(parents=True, exist_ok=True)

    sizes = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1,
             "U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}
    for dtype, size in sizes.items():
        data = bytes(range(6 * size)) if dtype != "BOOL" else bytes([0, 1] * 3)
        seed("safetensors", dtype, safetensors({"w": (dtype, [2, 3], data)}))
    seed("safetensors", "several", safetensors(
        {"scalar": ("F32", [], struct.pack("<f", 2.5)), "empty": ("F16", [0, 4], b""),
         "conv.weight": ("F32", [1, 2, 1, 1], struct.pack("<2f", 1, -1)), "n": ("I64", [1], struct.pack("<q", 3))},
        {"format": "pt", "model": "x"}))
    seed("safetensors", "many", safetensors(
        {f"layer{i}.weight": ("F32", [2], bytes(8)) for i in range(60)}))

    for path in [*FIXTURES.glob("*.zip.pt"), *FIXTURES.glob("*.jit.pt")]:
        if path.stat().st_size < 20000:
            seed("zip", path.name, path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("data.pkl"):
                    seed("pickle", path.name, archive.read(name))
    for path in FIXTURES.glob("arrays.*.npz"):
        seed("zip", path.name, path.read_bytes())
        with zipfile.ZipFile(path) as archive:
            for number, name in enumerate(archive.namelist()):
                seed("npy", f"{path.stem}.{number}", archive.read(name))
    small = {"a": npy("<f4", False, (2, 3), bytes(24)), "b": npy(">i2", True, (2, 2), bytes(8))}
    seed("zip", "stored.npz", npz(zipfile.ZIP_STORED, small))
    seed("zip", "deflated.npz", npz(zipfile.ZIP_DEFLATED, small))
    seed("npy", "by_hand", small["a"])
    seed("torch_tar", "by_hand", torch_tar(), longest=4096)
    for path in FIXTURES.glob("*.tar.pt"):
        seed("torch_tar", path.name, path.read_bytes())
    for path in FIXTURES.glob("*.onnx"):
        if path.stat().st_size < 10000:
            seed("onnx", path.name, path.read_bytes())
    for path in FIXTURES.glob("*.legacy.pt"):
        if path.stat().st_size < 20000:
            seed("torch_legacy", path.name, path.read_bytes())


if __name__ == "__main__":
    main()
