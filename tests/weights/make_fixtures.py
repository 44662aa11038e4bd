#!/usr/bin/env python3
"""Makes the checkpoints in tests/weights/fixtures. Values are formulas that test_torch.cpp repeats.

Run with each PyTorch whose files are there; the code speaks Python 2.7 too. Names say which wrote them:
  *.zip.pt, *.legacy.pt, *.tar.pt   1.13 (Debian's python3-torch)
  *.torch-1.0.legacy.pt             1.0.0, the oldest on PyPI, with Python 2.7
  *.torch-2.15.*.pt                 2.15.0, the newest there
The containers:
  zip     since PyTorch 1.6
  legacy  before, and on request since
  tar     before PyTorch 0.1.10; written here as 1.13's legacy_load expects, and read back with it
Storage keys in legacy files are memory addresses, so running this again changes those files' bytes but not
what they hold.
"""
import argparse
import collections
import io
import os
import pickle
import struct
import tarfile

import torch

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "fixtures")
VERSION = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
SUFFIX = "" if VERSION == (1, 13) else ".torch-%d.%d" % VERSION


def save(name, value, **options):
    path = os.path.join(HERE, name + SUFFIX)
    if VERSION < (1, 6):
        options.pop("pickle_protocol", None)  # Python 2 ends at 2
        torch.save(value, path + ".legacy.pt", **options)
        return
    torch.save(value, path + ".zip.pt", **options)
    torch.save(value, path + ".legacy.pt", _use_new_zipfile_serialization=False, **options)


def save_tar(name, value):
    """torch.save of PyTorch 0.1.9: tensors as persistent ids, storages and tensors apart; all storages views of roots."""
    tensors, roots = {}, {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if not isinstance(obj, torch.Tensor):
                return None
            key = tensors.setdefault(id(obj), (1000 + len(tensors), obj))[0]
            return str(key)

    def dump(obj):
        return pickle.dumps(obj, protocol=2)

    body = io.BytesIO()
    Pickler(body, protocol=2).dump(value)
    views = []
    head, storages = [], []
    for key, tensor in tensors.values():
        storage = tensor.storage()
        address = storage.data_ptr() or key
        if address not in roots:
            roots[address] = 5000 + len(roots)
            raw = bytes(storage._untyped() if hasattr(storage, "_untyped") else storage.untyped())
            storages.append(dump((roots[address], "cpu", getattr(torch, type_of(tensor) + "Storage"))) +
                            struct.pack("<q", len(storage)) + raw)
        # Every other tensor looks at its storage through a view of all but the first element.
        root, offset = roots[address], tensor.storage_offset()
        if key % 2 and offset:
            views.append((9000 + key, root, 1, len(storage) - 1))
            root, offset = 9000 + key, offset - 1
        numbers = [tensor.dim()] + list(tensor.size()) + list(tensor.stride()) + [offset]
        head.append(dump((key, root, getattr(torch, type_of(tensor) + "Tensor"))) + struct.pack("<%dq" % len(numbers), *numbers))
    system = {"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 8}}
    parts = {"sys_info": dump(system), "pickle": body.getvalue(), "tensors": dump(len(head)) + b"".join(head),
             "storages": dump(len(storages)) + b"".join(storages) + dump(views)}
    path = os.path.join(HERE, name + ".tar.pt")
    with tarfile.open(path, "w:", format=tarfile.PAX_FORMAT) as tar:
        for part, data in parts.items():
            info = tarfile.TarInfo(part)
            info.size, info.mtime = len(data), 0.5  # a fraction: Python writes a pax record for it
            tar.addfile(info, io.BytesIO(data))
    back = torch.load(path)
    assert back.keys() == value.keys()
    for key, tensor in value.items():
        assert back[key].dtype == tensor.dtype and torch.equal(back[key].nan_to_num(), tensor.nan_to_num()), key


def type_of(tensor):
    names = {torch.float64: "Double", torch.float32: "Float", torch.float16: "Half", torch.bfloat16: "BFloat16",
             torch.int64: "Long", torch.int32: "Int", torch.int16: "Short", torch.int8: "Char", torch.uint8: "Byte",
             torch.bool: "Bool"}
    return names[tensor.dtype]


def special(dtype):
    """Signed zeros, infinities, NaN, the largest, smallest normal and smallest values, and what rounding makes of 1/3 and 0.1."""
    largest, normal, smallest = {
        "torch.float16": (65504.0, 2.0**-14, 2.0**-24),
        "torch.bfloat16": (2.0**128 - 2.0**120, 2.0**-126, 2.0**-133),
        "torch.float32": (2.0**128 - 2.0**104, 2.0**-126, 2.0**-149),
        "torch.float64": (1.7976931348623157e308, 2.0**-1022, 5e-324),
    }[str(dtype)]
    values = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), largest, -largest, normal, smallest, -1.5, 1 / 3.0, 0.1]
    return torch.tensor(values, dtype=torch.float64).to(dtype)


def plain():
    """Every element type, odd shapes, and views of one storage."""
    base = torch.arange(24, dtype=torch.float32)
    volume = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    d = collections.OrderedDict()
    for name, dtype in (("f64", "float64"), ("f32", "float32"), ("f16", "float16"), ("bf16", "bfloat16")):
        if hasattr(torch, dtype):
            d[name] = special(getattr(torch, dtype))
    d["i64"] = torch.tensor([-(2**63), -1, 0, 2**53 + 1, 2**63 - 1])
    d["i32"] = torch.tensor([-(2**31), -1, 0, 2**24 + 1, 2**31 - 1], dtype=torch.int32)
    d["i16"] = torch.tensor([-(2**15), -1, 0, 2**15 - 1], dtype=torch.int16)
    d["i8"] = torch.tensor([-128, -1, 0, 127], dtype=torch.int8)
    d["u8"] = torch.tensor([0, 1, 128, 255], dtype=torch.uint8)
    if hasattr(torch, "bool"):
        d["bool"] = torch.tensor([True, False, True])
    d["scalar"] = torch.tensor(2.5)
    d["scalar_i64"] = torch.tensor(7)
    d["empty"] = torch.zeros(0)
    d["empty_3d"] = torch.zeros(2, 0, 3)
    d["base"] = base
    d["slice"] = base[5:11]                      # an offset
    d["step"] = base[1::5]                       # a stride
    d["transposed"] = base.reshape(4, 6).t()     # [6, 4], strides [1, 6]
    d["column"] = base.reshape(4, 6)[:, 2:3]     # [4, 1], strides [6, 1]
    d["expanded"] = base[3:4].expand(5)          # stride 0
    d["permuted"] = volume.permute(3, 0, 2, 1)   # [5, 2, 4, 3]
    d["channels_last"] = (volume + 1000).permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    if VERSION >= (2, 3):  # these have no storage class of their own: plain bytes, and _rebuild_tensor_v3
        for name, bits in (("u16", 16), ("u32", 32), ("u64", 64)):
            d[name] = torch.tensor([0, 1, 2**(bits - 1), 2**bits - 1], dtype=getattr(torch, "uint%d" % bits))
        codes = torch.tensor([0x00, 0x80, 0x38, 0x7e, 0x01, 0xbc], dtype=torch.uint8)
        d["f8_e4m3"], d["f8_e5m2"] = codes.view(torch.float8_e4m3fn), codes.view(torch.float8_e5m2)
        d["f8_view"] = d["f8_e4m3"].reshape(2, 3).t()
    d["parameter"] = torch.nn.Parameter(torch.arange(3, dtype=torch.float32) * 0.5)
    return d


def module():
    """A module's own state dict (with its _metadata), batch norm and its counter included."""
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, bias=False), torch.nn.BatchNorm2d(3), torch.nn.Linear(3, 2))
    state = net.state_dict()
    with torch.no_grad():
        for at, tensor in enumerate(state.values()):
            tensor.copy_(torch.arange(tensor.numel(), dtype=torch.float32).reshape(tensor.shape) * 0.25 + at)
    return net, state


def resnet18():
    """The names and shapes of torchvision's resnet18 in a thirty-second of its width, with ten classes."""
    d = collections.OrderedDict()

    def fill(name, *shape):
        at, n = len(d), 1
        for side in shape:
            n *= side
        # Numbers of 11 bits: exact in every floating type but bfloat16.
        d[name] = (torch.arange(n, dtype=torch.float32) * 7 + 3 * at).fmod(2048).sub(1024).div(64).reshape(*shape)

    def norm(name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            fill(name + "." + part, channels)
        d[name + ".num_batches_tracked"] = torch.tensor(len(d))

    fill("conv1.weight", 2, 3, 7, 7)
    norm("bn1", 2)
    before = 2
    for stage, channels in enumerate((2, 4, 8, 16)):
        for block in range(2):
            name = "layer%d.%d." % (stage + 1, block)
            fill(name + "conv1.weight", channels, before, 3, 3)
            norm(name + "bn1", channels)
            fill(name + "conv2.weight", channels, channels, 3, 3)
            norm(name + "bn2", channels)
            if before != channels:
                fill(name + "downsample.0.weight", channels, before, 1, 1)
                norm(name + "downsample.1", channels)
            before = channels
    fill("fc.weight", 10, 16)
    fill("fc.bias", 10)
    return d


def main():
    save("plain", plain())
    if VERSION == (1, 13):
        save_tar("plain", collections.OrderedDict((name, tensor.detach()) for name, tensor in plain().items()))
    else:
        save("resnet18", resnet18())

    net, state = module()
    save("module", state)

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    for parameter in net.parameters():
        parameter.grad = torch.ones_like(parameter)
    with torch.no_grad():
        kept = [parameter.clone() for parameter in net.parameters()]
    optimizer.step()
    with torch.no_grad():
        for parameter, value in zip(net.parameters(), kept):
            parameter.copy_(value)
    save("wrapped", {
        "epoch": 90, "arch": "tiny", "best_prec1": 91.75, "best_tensor": torch.tensor(91.75), "done": True,
        "scheduler": None, "seed": 2**70,
        "state_dict": collections.OrderedDict(("module." + k, v) for k, v in net.state_dict().items()),
        "optimizer": optimizer.state_dict(), "args": argparse.Namespace(lr=0.1, layers=[1, 2]),
    })
    # Containers in containers, and a newer pickle protocol (frames, short strings, STACK_GLOBAL).
    save("nested", {
        "model": {
            "state_dict": {
                "stem": {"weight": torch.arange(4.0), "stride": 2},
                "blocks": [{"weight": torch.arange(2.0) + 10}, ({"weight": torch.arange(2.0) + 20}, None)],
                3: torch.arange(1.0) + 30,
                "size": torch.Size([1, 2]), "type": torch.float16 if VERSION >= (1, 13) else None, "set": {1, 2},
            },
            "version": (1, 13),
        },
        "history": collections.defaultdict(list, loss=[0.5, 0.25]),
    }, pickle_protocol=4)
    if VERSION == (1, 13):
        # A pickle whose strings and memo outgrow the one-byte forms.
        save("many", {"layer%d.%sweight" % (i, "x" * (i % 3) * 100): torch.full((2,), float(i)) for i in range(120)})


if __name__ == "__main__":
    main()
