"""The networks of the golden files, their weights, and a description of them with batch norm folded in.

`Folded` is all the attribution scripts know of a network:
  stem      a Conv, then ReLU, then (pool=True) a 3x3 max-pool of stride 2 and padding 1
  blocks    Blocks in order: relu(convs[-1](… relu(convs[0](x))) + shortcut(x)), two convolutions or three
  linear    (weight [K, C], bias [K]) after a global average pool
Tensors are float64, weights KCRS, activations NCHW.
"""
import dataclasses

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import nn
from zennit.layer import Sum

from seeded import seeded_tensor, uniform

SEED = 1  # of all parameters and pictures
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class OptionA(nn.Module):
    """He et al. 2016, option A: every second pixel, and as many zero channels before as after."""

    def __init__(self, added):
        super().__init__()
        self.added = added

    def forward(self, x):
        return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.added // 2, self.added // 2))


class CifarBlock(nn.Module):
    def __init__(self, c, k, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(c, k, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(k)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(k, k, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(k)
        self.shortcut = OptionA(k - c) if k != c else nn.Identity()
        self.add = Sum()  # Zennit's layer: sums over the last axis, so that a rule can be hooked to it
        self.relu2 = nn.ReLU()

    def forward(self, x):
        h = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(self.add(torch.stack([self.shortcut(x), h], dim=-1)))


class CifarResNet(nn.Module):
    """He et al. 2016, section 4.2: 3x3 stem, three stages of 16, 32, 64 channels, `n` blocks each."""

    def __init__(self, n, classes=10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU()
        c = 16
        for stage, k in enumerate((16, 32, 64), 1):
            blocks = []
            for i in range(n):
                blocks.append(CifarBlock(c, k, 2 if i == 0 and stage > 1 else 1))
                c = k
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(64, classes)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(self.avgpool(x).flatten(1))


def narrow_resnet50(kind, width):
    """torchvision's resnext50_32x4d or wide_resnet50_2 with `width` channels in the first stage instead of 64."""
    model = getattr(torchvision.models, kind)()
    model.inplanes = width
    model.conv1, model.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
    for stage, blocks in enumerate((3, 4, 6, 3)):
        setattr(model, f"layer{stage + 1}",
                model._make_layer(torchvision.models.resnet.Bottleneck, width << stage, blocks, 2 if stage else 1))
    model.fc = nn.Linear(4 * width << 3, 1000)
    return model


def make(name):
    """A float64 network in evaluation mode, weights as PyTorch left them."""
    if name in ("resnet18", "resnext50_32x4d_w16", "wide_resnet50_2_w16"):
        model = torchvision.models.resnet18() if name == "resnet18" else narrow_resnet50(name[:-4], 16)
        # In-place ReLUs would overwrite tensors that hooks have kept.
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = False
    elif name == "cifar_resnet20":
        model = CifarResNet(3)
    else:
        raise ValueError(f"unknown network {name}")
    return model.double().eval()


def seed_weights(model, seed):
    """Every parameter from its name; batch norm's statistics 0 and 1."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            state[name] = tensor
        else:
            state[name] = torch.from_numpy(seeded_tensor(name, tuple(tensor.shape), seed)).double()
    model.load_state_dict(state)


def calibrate(model, pictures):
    """Runs the pictures through in training mode and leaves their mean and unbiased variance, rounded to
    float32 as they are stored, in the batch norms. Returns {name: float32 array}."""
    norms = {n: m for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)}
    for norm in norms.values():
        norm.reset_running_stats()
        norm.momentum = None  # the cumulative average: of one batch, the batch's own
    model.train()
    with torch.no_grad():
        model(normalise(pictures))
    model.eval()
    stored = {}
    for name, norm in norms.items():
        for kind in ("running_mean", "running_var"):
            buffer = getattr(norm, kind)
            stored[f"{name}.{kind}"] = buffer.numpy().astype(np.float32)
            buffer.copy_(torch.from_numpy(stored[f"{name}.{kind}"]).double())
    return stored


def seeded_pictures(name, count, size, seed):
    """uint8 [count, size, size, 3]: four octaves of value noise, so that neighbours resemble each other."""
    image = np.zeros((count, size, size, 3))
    for octave, cells in enumerate((2, 4, 8, 16)):
        grid = uniform(f"{name}.octave{octave}", count * 3 * cells * cells, seed)
        grid = torch.from_numpy(grid.reshape(count, 3, cells, cells))
        up = F.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)
        image += (up.numpy().transpose(0, 2, 3, 1) - 0.5) * 0.7**octave
    # Each picture and channel is stretched to the whole range.
    low, high = image.min((1, 2), keepdims=True), image.max((1, 2), keepdims=True)
    return np.rint(255 * (image - low) / (high - low)).astype(np.uint8)


def normalise(pictures):
    """uint8 [n, h, w, 3] to float64 [n, 3, h, w]."""
    x = torch.from_numpy(pictures.transpose(0, 3, 1, 2).copy()).double() / 255
    return (x - torch.tensor(MEAN).double().view(3, 1, 1)) / torch.tensor(STD).double().view(3, 1, 1)


def pixel_range():
    """The lowest and highest input after normalisation, [1, 3, 1, 1] each."""
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (0 - mean) / std, (1 - mean) / std


@dataclasses.dataclass
class Conv:
    w: torch.Tensor  # [K, C, R, S]
    b: torch.Tensor  # [K]
    stride: int
    pad: int
    groups: int = 1

    def __call__(self, x):
        return self.apply(x, self.w) + self.b.view(1, -1, 1, 1)

    def apply(self, x, w):
        """The map with other weights and no bias."""
        return F.conv2d(x, w, None, self.stride, self.pad, groups=self.groups)

    def back(self, shape, w, s):
        """Its transpose: from a signal at the output to one at an input of that shape."""
        return torch.nn.grad.conv2d_input(shape, w, s, self.stride, self.pad, groups=self.groups)


@dataclasses.dataclass
class Block:
    name: str
    convs: list
    shortcut: object  # a Conv, or a callable without parameters: the identity or option A


@dataclasses.dataclass
class Folded:
    stem: Conv
    pool: bool
    blocks: list
    linear: tuple


def fold(conv, norm):
    """k = gamma / sqrt(var + eps); w' = k w; b' = k (b - mean) + beta."""
    k = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
    b = conv.bias.detach() if conv.bias is not None else 0.0
    return Conv(conv.weight.detach() * k.view(-1, 1, 1, 1), k * (b - norm.running_mean) + norm.bias.detach(),
                conv.stride[0], conv.padding[0], conv.groups)


def numbers(block):
    """Of a block's convolutions: 1 and 2, in a bottleneck also 3."""
    return [n for n in (1, 2, 3) if hasattr(block, f"conv{n}")]


def folded(model):
    blocks = []
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for i, block in enumerate(getattr(model, stage, ())):
            if isinstance(block, CifarBlock):
                shortcut = block.shortcut
            else:
                shortcut = fold(*block.downsample) if block.downsample is not None else nn.Identity()
            convs = [fold(getattr(block, f"conv{n}"), getattr(block, f"bn{n}")) for n in numbers(block)]
            blocks.append(Block(f"{stage}.{i}", convs, shortcut))
    linear = model.fc if hasattr(model, "fc") else model.linear
    return Folded(fold(model.conv1, model.bn1), hasattr(model, "maxpool"), blocks,
                  (linear.weight.detach(), linear.bias.detach()))


def merge_batch_norms(model):
    """Puts the folded weights into the model itself; every batch norm becomes the identity. In place."""
    def replace(parent, conv_name, norm_name):
        conv, norm = getattr(parent, conv_name), getattr(parent, norm_name)
        merged = fold(conv, norm)
        conv.weight = nn.Parameter(merged.w)
        conv.bias = nn.Parameter(merged.b)
        setattr(parent, norm_name, nn.Identity())

    replace(model, "conv1", "bn1")
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        for block in getattr(model, stage, ()):
            for n in numbers(block):
                replace(block, f"conv{n}", f"bn{n}")
            if getattr(block, "downsample", None) is not None:
                replace(block.downsample, "0", "1")
    return model
