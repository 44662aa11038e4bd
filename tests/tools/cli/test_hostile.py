"""Hostile weight files through `retrace import` and `inspect`: exit code 1, one line that names the file, nothing written."""

import io
import json
import os
import pickle
import struct
import tarfile
import unittest
import zipfile

from support import Case

MODEL = "cifar_resnet20"


def text(s):
    return b"X" + struct.pack("<I", len(s)) + s.encode()


def number(n):
    return b"\x8a\x08" + struct.pack("<q", n)


def numbers(values):
    return b"(" + b"".join(number(n) for n in values) + b"t"


def storage(count, key="0"):
    return b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(count) + b"tQ"


def tensor(offset, shape, strides, count=4):
    return (b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage(count) + number(offset) + numbers(shape) + numbers(strides)
            + b"\x89ccollections\nOrderedDict\n)RtR")


def pickled(body):
    return b"\x80\x02" + body + b"."


def saved(value):
    return b"}" + text("conv1.weight") + value + b"s"


def torch_zip(body, records=(("data/0", bytes(16)),), method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("net/data.pkl", pickled(body))
        for name, data in records:
            archive.writestr("net/" + name, data)
        archive.writestr("net/version", "3\n")
    return out.getvalue()


def changed(data, magic, nth, at, value):
    """The bytes with a value written `at` bytes into the nth place of the magic."""
    place = -1
    for _ in range(nth + 1):
        place = data.index(magic, place + 1)
    return data[:place + at] + value + data[place + at + len(value):]


def safetensors(header, body=b""):
    if not isinstance(header, bytes):
        header = json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + body


def tar(parts):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in parts.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Evil:
    """Python's own pickler writes it: unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, ("touch '%s'" % self.path,)


class Hostile(Case):
    def refused(self, name, data, *words):
        """Imports, inspects and classifies with a file of these bytes."""
        path = data if data == name else self.make("bad/" + name, data)
        out = self.path("out.safetensors")
        for command in (["import", path, "--model", MODEL, "--out", out],
                        ["import", path, "--model", MODEL, "--out", self.path("out.npz")],
                        ["inspect", path], ["classify", self.a, "--weights", path]):
            r = self.bad(1, [path + ": ", *words], *command)
            self.assertEqual(r.out, "")
            self.assertEqual(len(r.err.splitlines()), 1, r.err)
            self.assertLess(len(r.err), 1000)
        self.assertEqual([n for n in os.listdir(self.folder) if "out" in n or "executed" in n], [])

    def test_code_in_every_container(self):
        evil = Evil(self.path("executed"))
        body = pickle.dumps({"conv1.weight": evil}, protocol=2)[2:-1]
        words = ["byte", "system", "nothing is executed"]
        self.refused("code.pth", torch_zip(body), *words)
        magic = pickled(b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")
        self.refused("code.legacy.pth", magic + pickled(number(1001)) + pickled(b"}") + pickled(body) + pickled(b"]"), *words)
        empty = {"sys_info": pickled(b"}"), "storages": pickled(b"K\0") + pickled(b"]"), "tensors": pickled(b"K\0")}
        self.refused("code.tar.pth", tar({**empty, "pickle": pickled(body)}), *words)
        self.refused("code.4.pth", torch_zip(pickle.dumps(evil, protocol=4)[2:-1]), *words)
        self.refused("code.0.pth", torch_zip(pickle.dumps(evil, protocol=0)[:-1]), "byte", "system")
        self.refused("bare.pkl", pickle.dumps(evil, protocol=2), "a pickle, but not one that torch.save wrote")
        header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
        self.refused("code.npy", b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header + pickle.dumps(evil), "|O")

    def test_opcodes(self):
        self.refused("inst.pth", torch_zip(b"(" + text("true") + b"ios\nsystem\n"), "byte", "opcode 0x69")
        self.refused("extension.pth", torch_zip(b"\x82\x01"), "opcode 0x82")
        self.refused("marks.pth", torch_zip(b"(" * 100000), "the stack is empty")
        self.refused("target.pth", torch_zip(b"NN" + b"s"), "the stack is empty")
        self.refused("string.pth", torch_zip(b"\x8d" + b"\xff" * 8), "needs 18446744073709551615 bytes")

    def test_tensors(self):
        self.refused("offset.pth", torch_zip(saved(tensor(-1, [1], [1]))), "'conv1.weight'", "begins at element -1")
        self.refused("strides.pth", torch_zip(saved(tensor(0, [3, 3], [1 << 62, 1 << 62]))), "does not lie in its storage")
        self.refused("negative.pth", torch_zip(saved(tensor(3, [2], [-1]))), "strides [-1] are negative")
        self.refused("bomb.pth", torch_zip(saved(tensor(0, [1 << 40], [0]))), "over the limit of 50331648 bytes")
        self.refused("storage.pth", torch_zip(saved(tensor(0, [4], [1], 1 << 60))), "holds 16 bytes")

    def test_zip(self):
        good = torch_zip(saved(tensor(0, [4], [1])))
        self.refused("far.pth", changed(good, b"PK\1\2", 1, 42, b"\0\0\0\x40"), "no local header at byte 1073741824")
        self.refused("zip64.pth", changed(good, b"PK\1\2", 1, 20, b"\xff" * 4), "zip64 sizes are missing")
        self.refused("encrypted.pth", changed(good, b"PK\1\2", 1, 8, b"\1"), "'net/data/0': is encrypted")
        self.refused("deflated.pth", torch_zip(saved(tensor(0, [4], [1])), method=zipfile.ZIP_DEFLATED), "is compressed")
        self.refused("twice.pth", changed(good, b"PK\1\2", 1, 42, good.index(b"PK\3\4").to_bytes(4, "little")), "differs")
        self.refused("trailing.pth", good + b"x", "has no end record")
        self.refused("shell.pth", b"#!/bin/sh\n" + good, "data of unknown format")

    def test_safetensors(self):
        self.refused("length.safetensors", struct.pack("<Q", 1 << 63) + b"{}", "over the format's limit of 100000000")
        self.refused("deep.safetensors", safetensors(b'{"a":' + b"[" * 1000000), "nested too deep")
        empty = b'{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
        self.refused("twice.safetensors", safetensors(b'{"w":%s,"w":%s}' % (empty, empty)), "'w' stands twice")
        self.refused("utf8.safetensors", safetensors(b'{"\xff\xfe":1}'), "not valid JSON")
        w = {"dtype": "F32", "shape": [1 << 62], "data_offsets": [0, 0]}
        self.refused("count.safetensors", safetensors({"w": w}), "'w'", "more than can be counted")
        huge = b'{"w":{"dtype":"F32","shape":[%s],"data_offsets":[0,4]}}'
        for name, digits in (("exponent", b"1e999"), ("digits", b"9" * 400), ("fraction", b"1.5"), ("nan", b"NaN")):
            self.refused(name + ".safetensors", safetensors(huge % digits, bytes(4)), "safetensors")
        index = {"weight_map": {"w": "../../etc/passwd"}}
        self.refused("m.safetensors.index.json", json.dumps(index).encode(), "expected the plain name of a file beside")

    def test_no_file_at_all(self):
        self.refused("/dev/zero", "/dev/zero", "is a device")
        os.mkfifo(self.path("fifo"))
        self.refused(self.path("fifo"), self.path("fifo"), "is a pipe")
        os.symlink("fifo", self.path("link"))
        self.refused(self.path("link"), self.path("link"), "is a pipe")
        os.symlink("loop", self.path("loop"))
        self.refused(self.path("loop"), self.path("loop"), "symbolic links")
        self.refused(self.folder, self.folder, "is a folder")
        self.refused("empty.pth", b"", "is empty")


if __name__ == "__main__":
    unittest.main()
