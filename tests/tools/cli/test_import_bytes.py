"""retrace import, byte for byte: what passes through, what is refused, and how much memory it takes."""

import json
import os
import struct
import subprocess
import sys
import unittest

from support import RETRACE, SANITIZED, Case, content_sha256, product, read_safetensors, resnet20_shapes

MODEL = "cifar_resnet20"
# struct's letter of the codes, the codes: every kind of finite value: zeros, the least and the largest subnormal, the
# least normal, one, an odd one, the largest; of both signs.
CODES = {"F32": ("I", [0, 1, 0x7fffff, 0x800000, 0x3f800000, 0x3eaaaaab, 0x7f7fffff]),
         "F16": ("H", [0, 1, 0x3ff, 0x400, 0x3c00, 0x3555, 0x7bff]),
         "BF16": ("H", [0, 1, 0x7f, 0x80, 0x3f80, 0x3eab, 0x7f7f])}
INFINITY = {"F32": 0x7f800000, "F16": 0x7c00, "BF16": 0x7f80}


def file_of(dtype, shapes, data_of):
    """A safetensors file; data_of(name, count) makes a tensor's bytes."""
    header, body, at = {}, [], 0
    for name, shape in shapes:
        data = data_of(name, product(shape))
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
        body.append(data)
        at += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(body)


def wide_shapes(times):
    """cifar_resnet20_w16 with so many times its channels."""
    return [(name, tuple(side if side in (3, 10) or name == "linear.bias" else times * side
                         for side in shape[:2]) + tuple(shape[2:])) for name, shape in resnet20_shapes()]


class Bytes(Case):
    def setUp(self):
        super().setUp()
        self.out = self.path("out.safetensors")

    def codes(self, dtype, **bad):
        """Every tensor cycles through the codes of both signs; `bad`: a tensor's name (_ for .), its last code."""
        letter, codes = CODES[dtype]
        sign = 1 << (31 if letter == "I" else 15)
        codes = [c | s for s in (0, sign) for c in codes]
        bad = {name.replace("_", "."): code for name, code in bad.items()}

        def data_of(name, count):
            values = (codes * (count // len(codes) + 1))[:count]
            if name in bad:
                values[-1] = bad[name]
            return struct.pack("<%d%s" % (count, letter), *values)

        return self.make(dtype + ".safetensors", file_of(dtype, resnet20_shapes(), data_of))

    def test_what_keeps_its_type_passes_through(self):
        for dtype in CODES:
            w = self.codes(dtype)
            before = read_safetensors(w)[1]
            for out in (self.out, w):  # over itself, too
                self.good("import", w, "--model", MODEL, "--out", out, "--dtype", dtype.lower())
                metadata, tensors = read_safetensors(out)
                self.assertEqual(tensors, before, dtype)
                self.assertEqual(metadata["content_sha256"], content_sha256(out))

    def test_values_that_are_not_finite_leave_no_file(self):
        for dtype, infinity in INFINITY.items():
            for code, text in ((infinity, "inf"), (infinity + 1, "nan")):
                w = self.codes(dtype, linear_bias=code)
                for arguments in ([self.out], [self.out, "--fold-bn"], [self.path("out.npz")]):
                    r = self.bad(1, [w, "linear.bias holds " + text], "import", w, "--model", MODEL, "--out", *arguments)
                    self.assertEqual((r.out, sorted(os.listdir(self.folder))), ("", self.before(w)))

    def before(self, *more):
        return sorted(os.path.basename(f) for f in {self.a, self.b, self.c, self.w, *more}
                      | {self.path(d + ".safetensors") for d in CODES if os.path.exists(self.path(d + ".safetensors"))})

    def test_a_value_that_does_not_fit_leaves_the_old_file(self):
        # The first tensor is written by then, the last one does not fit: 3e38 in f16.
        w = self.codes("BF16")
        for out in ("old.safetensors", "old.npz"):
            old = self.make(out, b"old")
            self.bad(1, ["does not fit f16"], "import", w, "--model", MODEL, "--out", old, "--dtype", "f16")
            with open(old, "rb") as file:
                self.assertEqual(file.read(), b"old")
        self.assertEqual([name for name in os.listdir(self.folder) if "tmp" in name], [])

    def test_folding_that_fails_leaves_no_file(self):
        shapes = resnet20_shapes()
        one, minus_one = struct.pack("<f", 1), struct.pack("<f", -1)
        w = self.make("negative.safetensors", file_of(
            "F32", shapes, lambda name, n: n * (minus_one if name == "layer3.2.bn2.running_var" else one)))
        self.bad(1, ["layer3.2.conv2.weight", "channel 0", "variance -1"], "import", w, "--model", MODEL, "--out",
                 self.out, "--fold-bn")
        self.assertEqual(sorted(os.listdir(self.folder)), self.before(w))


# Prints the largest resident memory of its child in KiB. A process of its own, for a child's is never less than what its
# parent had when it was made, and the test holds whole files.
MEASURE = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


@unittest.skipIf(SANITIZED, "a sanitizer keeps memory of its own")
class Memory(Case):
    def test_at_most_twice_the_file(self):
        # 38.6 MB, the largest tensor 5.3. The file is held once; program, libraries and the tensors in work take the rest:
        # measured 1.15 to 1.46 times the file.
        one = struct.pack("<f", 1)
        data = file_of("F32", wide_shapes(6), lambda name, n: n * one)
        w = self.make("wide.safetensors", data)
        size = len(data)
        del data
        self.assertGreater(size, 38e6)
        for arguments in (["out.safetensors"], ["out.safetensors", "--dtype", "f16"], ["out.safetensors", "--fold-bn"],
                          ["out.safetensors", "--fold-bn", "--dtype", "bf16"], ["out.npz"]):
            done = subprocess.run([sys.executable, "-c", MEASURE, RETRACE, "import", w, "--model", MODEL + "_w96",
                                   "--quiet", "--out", self.path(arguments[0]), *arguments[1:]],
                                  stdout=subprocess.PIPE, timeout=120, check=True)
            resident = int(done.stdout) * 1024
            self.assertLess(resident, 2 * size, "%s: %.2f times the file" % (arguments, resident / size))
            os.remove(self.path(arguments[0]))


if __name__ == "__main__":
    unittest.main()
