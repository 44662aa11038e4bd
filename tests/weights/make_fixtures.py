#!/usr/bin/env python3
"""Makes the checkpoints in tests/weights/fixtures. Values are formulas that test_torch.cpp repeats.

Made with PyTorch 1.13 (Debian's python3-torch); the containers it writes, and one that it only reads:
  *.zip.pt     since PyTorch 1.6
  *.legacy.pt  before, and on request since
  *.tar.pt     before PyTorch 0.1.10; written here as its legacy_load expects, and read back with it
  *.jit.pt     TorchScript programs, torch.jit.save
Storage keys in legacy files are memory addresses, so running this again changes those files' bytes but not
what they hold.
"""
import argparse
import collections
import io
import pathlib
import pickle
import struct
import tarfile

import torch

HERE = pathlib.Path(__file__).resolve().parent / "fixtures"


def save(name, value, **options):
    torch.save(value, HERE / f"{name}.zip.pt", **options)
    torch.save(value, HERE / f"{name}.legacy.pt", _use_new_zipfile_serialization=False, **options)


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
        numbers = [tensor.dim(), *tensor.size(), *tensor.stride(), offset]
        head.append(dump((key, root, getattr(torch, type_of(tensor) + "Tensor"))) + struct.pack(f"<{len(numbers)}q", *numbers))
    system = {"protocol_version": 1000, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 8}}
    parts = {"sys_info": dump(system), "pickle": body.getvalue(), "tensors": dump(len(head)) + b"".join(head),
             "storages": dump(len(storages)) + b"".join(storages) + dump(views)}
    path = HERE / f"{name}.tar.pt"
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
    """Signed zeros, infinities, NaN, the smallest and largest values, and what rounding makes of 1/3 and 0.1."""
    info = torch.finfo(dtype)
    smallest = {torch.float16: 2.0**-24, torch.bfloat16: 2.0**-133, torch.float64: 5e-324, torch.float32: 2.0**-149}
    values = [0.0, -0.0, float("inf"), float("-inf"), float("nan"), info.max, info.min, info.tiny, smallest[dtype],
              -1.5, 1 / 3, 0.1]
    return torch.tensor(values, dtype=torch.float64).to(dtype)


def plain():
    """Every element type, odd shapes, and views of one storage."""
    base = torch.arange(24, dtype=torch.float32)
    volume = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5)
    d = collections.OrderedDict()
    for name, dtype in dict(f64=torch.float64, f32=torch.float32, f16=torch.float16, bf16=torch.bfloat16).items():
        d[name] = special(dtype)
    d["i64"] = torch.tensor([-(2**63), -1, 0, 2**53 + 1, 2**63 - 1])
    d["i32"] = torch.tensor([-(2**31), -1, 0, 2**24 + 1, 2**31 - 1], dtype=torch.int32)
    d["i16"] = torch.tensor([-(2**15), -1, 0, 2**15 - 1], dtype=torch.int16)
    d["i8"] = torch.tensor([-128, -1, 0, 127], dtype=torch.int8)
    d["u8"] = torch.tensor([0, 1, 128, 255], dtype=torch.uint8)
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
    d["channels_last"] = (volume + 1000).contiguous(memory_format=torch.channels_last)
    d["parameter"] = torch.nn.Parameter(torch.arange(3, dtype=torch.float32) * 0.5)
    return d


def module():
    """A module's own state dict (with its _metadata), batch norm and its counter included."""
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, bias=False), torch.nn.BatchNorm2d(3), torch.nn.Linear(3, 2))
    state = net.state_dict()
    with torch.no_grad():
        for at, tensor in enumerate(state.values()):
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) * 0.25 + at)
    return net, state


class Part(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 3, 3, bias=False)
        self.bn = torch.nn.BatchNorm2d(3)
        self.sizes, self.flags, self.names, self.rates = [1, 2], [True], ["a"], {"x": 0.5}

    def forward(self, x):
        return self.bn(self.conv(x))


class Program(torch.nn.Module):
    """Modules in modules, a buffer, a view, a parameter under two names, attributes of all kinds."""

    def __init__(self, traced):
        super().__init__()
        self.layer = torch.nn.Sequential(Part(), torch.nn.ReLU())
        self.fc = torch.nn.Linear(3, 3)
        self.register_buffer("scale", torch.zeros(2, 2))
        self.register_buffer("steps", torch.zeros(3, dtype=torch.int64))
        self.turned = torch.nn.Parameter(torch.zeros(2, 3).t())
        if not traced:  # tracing forbids what is shared, and keeps no plain attributes
            self.tied = self.fc.weight
            self.again = self.layer[0]
            self.tensors, self.table, self.count = [torch.ones(2)], {"k": torch.ones(1)}, 3

    def forward(self, x):
        x = self.layer(x).mean((2, 3))
        return self.fc(x) * self.scale.sum() + self.turned.sum() + self.steps.sum() + torch.ones(3)


def program(traced=False, half=False):
    net = Program(traced).eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            # Numbers that tell name and place, small enough for half precision.
            tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape) * 0.25 + sum(name.encode()) % 64)
    return net.half() if half else net


def save_programs():
    scripted = torch.jit.script(program())
    scripted.save(str(HERE / "scripted.jit.pt"))
    torch.jit.script(program(half=True)).save(str(HERE / "half.jit.pt"))
    torch.jit.trace(program(traced=True), torch.zeros(1, 2, 5, 5)).save(str(HERE / "traced.jit.pt"))
    torch.jit.freeze(scripted).save(str(HERE / "frozen.jit.pt"))
    assert torch.jit.load(str(HERE / "scripted.jit.pt")).state_dict().keys() == scripted.state_dict().keys()
    print(list(scripted.state_dict()))


def main():
    HERE.mkdir(exist_ok=True)
    save_programs()
    save("plain", plain())
    save_tar("plain", collections.OrderedDict((name, tensor.detach()) for name, tensor in plain().items()))

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
                "size": torch.Size([1, 2]), "type": torch.float16, "set": {1, 2},
            },
            "version": (1, 13),
        },
        "history": collections.defaultdict(list, loss=[0.5, 0.25]),
    }, pickle_protocol=4)
    # A pickle whose strings and memo outgrow the one-byte forms.
    save("many", {f"layer{i}.{'x' * (i % 3) * 100}weight": torch.full((2,), float(i)) for i in range(120)})


if __name__ == "__main__":
    main()
