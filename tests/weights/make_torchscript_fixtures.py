#!/usr/bin/env python3
"""Makes the TorchScript programs (*.jit.pt) in tests/weights/fixtures, with PyTorch 1.13 (Debian's python3-torch). Values are
formulas that test_torch_script.cpp repeats."""
import pathlib

import torch

HERE = pathlib.Path(__file__).parent / "fixtures"


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


if __name__ == "__main__":
    save_programs()
