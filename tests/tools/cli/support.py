"""What the tests of the command line share: running the program, and making pictures and weight files by hand."""

import hashlib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import tempfile
import unittest
import zlib

RETRACE = os.environ.get("RETRACE", "build/retrace")
# With a sanitizer the program reserves terabytes of addresses: limits on them cannot be tested.
SANITIZED = bool(os.environ.get("RETRACE_SANITIZED"))
LABELS = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
LAYERS = (["input", "conv1"]
          + ["layer1.%d%s" % (b, s) for b in range(3) for s in (".conv1", "")]
          + ["layer2.0.shortcut", "layer2.0.conv1", "layer2.0", "layer2.1.conv1", "layer2.1", "layer2.2.conv1",
             "layer2.2"]
          + ["layer3.0.shortcut", "layer3.0.conv1", "layer3.0", "layer3.1.conv1", "layer3.1", "layer3.2.conv1",
             "layer3.2"]
          + ["avgpool", "linear"])


class Result:
    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def errors(self):
        return [line for line in self.err.splitlines() if line.startswith("retrace: error: ")]

    @property
    def lines(self):
        """Standard output as one JSON value per line."""
        return [json.loads(line) for line in self.out.splitlines()]


def run(*arguments, timeout=120, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options):
    command = [RETRACE] + [str(a) for a in arguments]
    # The simulator, so that results are the same with and without a GPU.
    on_device = ("classify", "explain", "activations", "evaluate", "train")
    if command[1:2] and command[1] in on_device and "--device" not in command:
        command.insert(2, "--device=sim")
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, timeout=timeout,
                          **options)
    return Result(done.returncode, (done.stdout or b"").decode(), (done.stderr or b"").decode())


# Pictures.

def pixels(width, height, seed):
    """A few seeded blobs of colour: smooth, so that neighbouring pixels agree as in a photograph."""
    r = random.Random(seed)
    blobs = [(r.random() * width, r.random() * height, 2 + r.random() * width / 3, [r.random() for _ in range(3)])
             for _ in range(5)]
    out = bytearray()
    for y in range(height):
        for x in range(width):
            for c in range(3):
                v = sum(col[c] / (1 + ((x - cx) ** 2 + (y - cy) ** 2) / s ** 2) for cx, cy, s, col in blobs)
                out.append(min(255, int(110 * v)))
    return bytes(out)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rgb, colour=2):
    """W3C PNG: 8 bits a channel, rows without a filter. colour 2: RGB, 0: grey."""
    channels = 3 if colour == 2 else 1
    row = width * channels
    raw = b"".join(b"\0" + rgb[y * row:(y + 1) * row] for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw, 6))
            + chunk(b"IEND", b""))


def ppm(width, height, rgb):
    return b"P6\n%d %d\n255\n" % (width, height) + rgb


# ITU T.81, 8 x 8, grey 128: one quantization table of ones, one code a Huffman table (no difference, end of block).
JPEG = bytes.fromhex(
    "ffd8" "ffdb0043 00" + "01" * 64 + "ffc0000b 08 0008 0008 01 01 11 00"
    "ffc40014 00 01" + "00" * 15 + "00" "ffc40014 10 01" + "00" * 15 + "00"
    "ffda0008 01 01 00 00 3f 00" "3f" "ffd9")


def png_size(path):
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x89PNG\r\n\x1a\n" and data[-8:-4] == b"IEND", path
    return struct.unpack(">II", data[16:24])


def read_npy(path):
    """(dtype, shape, values) of an .npy file in C order."""
    with open(path, "rb") as file:
        data = file.read()
    assert data[:8] == b"\x93NUMPY\x01\x00", data[:8]
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10:10 + length].decode()
    assert "'fortran_order': False" in header, header
    dtype = re.search(r"'descr': '([^']*)'", header).group(1)
    shape = tuple(int(n) for n in re.search(r"'shape': \(([^)]*)\)", header).group(1).split(",") if n.strip())
    body = data[10 + length:]
    return dtype, shape, struct.unpack("<%df" % (len(body) // 4), body)


# Weights.

def resnet20_shapes(classes=10):
    """What a checkpoint of cifar_resnet20 holds: He et al. 2016, section 4.2, by torchvision's names."""
    def norm(name, c):
        return [(name + "." + part, (c,)) for part in ("weight", "bias", "running_mean", "running_var")]

    shapes = [("conv1.weight", (16, 3, 3, 3))] + norm("bn1", 16)
    before = 16
    for stage, c in ((1, 16), (2, 32), (3, 64)):
        for block in range(3):
            name = "layer%d.%d." % (stage, block)
            shapes += [(name + "conv1.weight", (c, before, 3, 3))] + norm(name + "bn1", c)
            shapes += [(name + "conv2.weight", (c, c, 3, 3))] + norm(name + "bn2", c)
            before = c
    return shapes + [("linear.weight", (classes, 64)), ("linear.bias", (classes,))]


def product(shape):
    n = 1
    for side in shape:
        n *= side
    return n


def seeded_weights(seed=7, classes=10, scale_of_first=1.0):
    """Values that keep activations near 1 through the network: He et al. 2015 for convolutions, batch norm near 1."""
    r = random.Random(seed)
    tensors = {}
    for name, shape in resnet20_shapes(classes):
        n = product(shape)
        if len(shape) == 4:
            deviation = (2.0 / (shape[1] * 9)) ** 0.5
            values = [r.gauss(0, deviation) for _ in range(n)]
            if name == "conv1.weight":
                values = [scale_of_first * v for v in values]
        elif name.endswith("running_var"):
            values = [0.5 + r.random() for _ in range(n)]
        elif ".bn" in name or name.startswith("bn1"):
            values = [(1 if name.endswith(".weight") else 0) + 0.1 * r.gauss(0, 1) for _ in range(n)]
            if name.endswith("bn2.weight"):
                values = [0.3 * v for v in values]  # residual branches small: sums do not grow block after block
        else:
            values = [r.gauss(0, 0.2) for _ in range(n)]
        tensors[name] = (shape, values)
    return tensors


def safetensors(tensors, metadata=None):
    header, body = {}, b""
    if metadata:
        header["__metadata__"] = metadata
    for name, (shape, values) in tensors.items():
        data = struct.pack("<%df" % len(values), *values)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [len(body), len(body) + len(data)]}
        body += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def safetensors_header(path):
    with open(path, "rb") as file:
        return json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))


def read_safetensors(path):
    """(metadata, {name: (dtype, shape, bytes)})."""
    header = safetensors_header(path)
    with open(path, "rb") as file:
        data = file.read()
    body = data[8 + struct.unpack("<Q", data[:8])[0]:]
    metadata = header.pop("__metadata__", {})
    return metadata, {name: (t["dtype"], t["shape"], body[t["data_offsets"][0]:t["data_offsets"][1]])
                      for name, t in header.items()}


def content_sha256(path):
    """weights/sha256.h, by hashlib."""
    header = safetensors_header(path)
    _, tensors = read_safetensors(path)
    number = lambda n: struct.pack("<Q", n)
    h = hashlib.sha256()
    entries = sorted((t["data_offsets"], name) for name, t in header.items() if name != "__metadata__")
    for _, name in entries:
        dtype, shape, data = tensors[name]
        for text in (name.encode(), dtype.lower().encode()):
            h.update(number(len(text)) + text)
        h.update(number(len(shape)) + b"".join(map(number, shape)) + number(len(data)) + data)
    return h.hexdigest()


class Case(unittest.TestCase):
    """A test with a folder of its own, in it: a.png (32 x 32), b.ppm (48 x 40), c.jpg (8 x 8), w.safetensors."""

    weights = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="retrace-cli-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        if Case.weights is None:
            Case.weights = safetensors(seeded_weights())
        self.a = self.make("a.png", png(32, 32, pixels(32, 32, 1)))
        self.b = self.make("b.ppm", ppm(48, 40, pixels(48, 40, 2)))
        self.c = self.make("c.jpg", JPEG)
        self.w = self.make("w.safetensors", Case.weights)

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name, data):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "wb") as file:
            file.write(data)
        return self.path(name)

    def listing(self, name):
        return sorted(os.listdir(self.path(name))) if os.path.isdir(self.path(name)) else []

    def good(self, *arguments, **options):
        """Runs what must go well: exit code 0, only notes on standard error."""
        result = run(*arguments, **options)
        self.assertEqual(result.code, 0, result.err)
        for line in result.err.splitlines():
            self.assertTrue(line.startswith("retrace: "), line)
        self.assertEqual(result.errors, [])
        return result

    def bad(self, code, words, *arguments, **options):
        """Runs what must fail with this exit code and one error line that says all of `words`."""
        result = run(*arguments, **options)
        self.assertEqual(result.code, code, result.err)
        self.assertEqual(len(result.errors), 1, result.err)
        for line in result.err.splitlines():
            self.assertTrue(line.startswith("retrace: "), line)
        for word in words:
            self.assertIn(word, result.errors[0])
        return result
