"""Networks that `networks.Folded` cannot describe (VGG, AlexNet, SqueezeNet, MobileNetV2, DenseNet), narrow, and any
network as a graph of a few kinds of nodes.

The classes are torchvision's, and so are all parameter names. What its forward methods do with functions where a rule
of Zennit's needs a module to be hooked to (sums, average pools, ReLUs) is done with modules here; those have no
parameters.
"""
import copy
import dataclasses

import torch
import torch.nn.functional as F
from torch import fx, nn
from torchvision.models.alexnet import AlexNet
from torchvision.models.densenet import DenseNet
from torchvision.models.mobilenetv2 import InvertedResidual, MobileNetV2
from torchvision.models.squeezenet import Fire, SqueezeNet
from torchvision.models.vgg import VGG, cfgs, make_layers
from zennit.layer import Sum

import networks
from networks import Conv

CLASSES = 1000


class NarrowVGG(VGG):
    """torchvision's vgg11 or vgg11_bn with `width` channels in the first stage instead of 64."""

    def __init__(self, width, batch_norm):
        nn.Module.__init__(self)  # the parent's own would first make 10^8 weights
        of = lambda usual: usual * width // 64
        self.features = make_layers([v if v == "M" else of(v) for v in cfgs["A"]], batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        hidden = of(4096)
        self.classifier = nn.Sequential(
            nn.Linear(of(512) * 49, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(),
            nn.Linear(hidden, CLASSES))


class NarrowAlexNet(AlexNet):
    def __init__(self, width):
        nn.Module.__init__(self)
        c1, c2, c3, c4, c5, hidden = (usual * width // 64 for usual in (64, 192, 384, 256, 256, 4096))
        self.features = nn.Sequential(
            nn.Conv2d(3, c1, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(c1, c2, 5, 1, 2), nn.ReLU(),
            nn.MaxPool2d(3, 2), nn.Conv2d(c2, c3, 3, 1, 1), nn.ReLU(), nn.Conv2d(c3, c4, 3, 1, 1), nn.ReLU(),
            nn.Conv2d(c4, c5, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(3, 2))
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Linear(c5 * 36, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(),
            nn.Linear(hidden, CLASSES))


class NarrowSqueezeNet(SqueezeNet):
    """Version 1.1."""

    def __init__(self, width):
        nn.Module.__init__(self)
        of = lambda usual: usual * width // 64
        fire = lambda *usual: Fire(*(of(v) for v in usual))
        pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)
        self.features = nn.Sequential(
            nn.Conv2d(3, of(64), 3, 2), nn.ReLU(), pool(), fire(64, 16, 64, 64), fire(128, 16, 64, 64), pool(),
            fire(128, 32, 128, 128), fire(256, 32, 128, 128), pool(), fire(256, 48, 192, 192),
            fire(384, 48, 192, 192), fire(384, 64, 256, 256), fire(512, 64, 256, 256))
        self.classifier = nn.Sequential(
            nn.Dropout(), nn.Conv2d(of(512), CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d((1, 1)))


class SummingResidual(InvertedResidual):
    """x + conv(x) by Zennit's layer: sums over the last axis."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.add = Sum()

    def forward(self, x):
        return self.add(torch.stack([x, self.conv(x)], dim=-1)) if self.use_res_connect else self.conv(x)


class NarrowMobileNetV2(MobileNetV2):
    """torchvision's width_mult, and with it its rounding of widths."""

    def __init__(self, width):
        super().__init__(width_mult=width / 32, block=SummingResidual)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))

    def _forward_impl(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


class SeparateReLU(nn.ReLU):
    """A ReLU that is a layer of its own: what stands before it is signed, and looked at (by Grad-CAM)."""


class NarrowDenseNet(DenseNet):
    def __init__(self, width):
        super().__init__(growth_rate=32 * width // 64, num_init_features=width)
        self.relu = SeparateReLU()
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.relu(self.features(x))), 1))


MODELS = {
    "vgg11_w8": lambda: NarrowVGG(8, False),
    "vgg11_bn_w8": lambda: NarrowVGG(8, True),
    "alexnet_w16": lambda: NarrowAlexNet(16),
    "squeezenet1_1_w16": lambda: NarrowSqueezeNet(16),
    "mobilenet_v2_w16": lambda: NarrowMobileNetV2(16),
    "densenet121_w16": lambda: NarrowDenseNet(16),
}


def make(name):
    """A float64 network in evaluation mode, weights as PyTorch left them."""
    model = MODELS[name]()
    # In-place ReLUs would overwrite tensors that hooks have kept.
    for module in model.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.inplace = False
    return model.double().eval()


# --- graphs ---

class Tracer(fx.Tracer):
    def is_leaf_module(self, module, name):
        return isinstance(module, (Sum, SeparateReLU, networks.OptionA)) or super().is_leaf_module(module, name)


def merge_batch_norms(model):
    """A copy in which a batch norm right behind a convolution is folded into it and becomes the identity. Any other
    becomes y = k x + b: mean 0, variance 1, eps 0."""
    merged = copy.deepcopy(model)
    for node in Tracer().trace(merged).nodes:
        norm = merged.get_submodule(node.target) if node.op == "call_module" else None
        if not isinstance(norm, nn.BatchNorm2d):
            continue
        before = node.args[0]
        conv = merged.get_submodule(before.target) if before.op == "call_module" else None
        if isinstance(conv, nn.Conv2d) and len(before.users) == 1:
            folded = networks.fold(conv, norm)
            conv.weight, conv.bias = nn.Parameter(folded.w), nn.Parameter(folded.b)
            parent, _, child = node.target.rpartition(".")
            setattr(merged.get_submodule(parent), child, nn.Identity())
        else:
            k = norm.weight.detach() / torch.sqrt(norm.running_var + norm.eps)
            norm.bias = nn.Parameter(norm.bias.detach() - k * norm.running_mean)
            norm.weight = nn.Parameter(k)
            norm.running_mean.zero_()
            norm.running_var.fill_(1)
            norm.eps = 0.0
    return merged


@dataclasses.dataclass
class Dense:
    """A fully connected layer."""
    w: torch.Tensor  # [K, C]
    b: torch.Tensor  # [K]

    def apply(self, x, w):
        return F.linear(x, w)


@dataclasses.dataclass
class Scale:
    """A batch norm of its own."""
    w: torch.Tensor  # [C]
    b: torch.Tensor  # [C]

    def apply(self, x, w):
        return x * w.view(1, -1, 1, 1)


@dataclasses.dataclass
class Node:
    """kind: input | map (op has weights `w`, a bias `b`, and apply(x, w)) | sum | average | pass (a ReLU) | plain
    (anything else that is differentiated). `op` is a callable for all but input, map and sum."""
    name: str  # the module's, or the function's
    kind: str
    inputs: list  # indices of nodes
    op: object = None
    # False: a ReLU is the only one that reads it, and is fused with it. A Scale has one product a sum, which is all there is to
    # hand a bias's share to: under `spread` it counts as signed.
    signed: bool = True


def describe(traced, module, sources):
    """The Node of a traced one, None where that only hands on its sources. `sources`: its inputs' indices."""
    if traced.op == "placeholder":
        return Node("input", "input", [])
    called = traced.target.__name__ if traced.op == "call_function" else traced.target
    # A stack is only ever read by the Sum right behind it.
    if isinstance(module, (nn.Identity, nn.Dropout)) or (module is None and called == "stack"):
        return None
    name = traced.target if module is not None else traced.name
    if isinstance(module, nn.Conv2d):
        w, (stride, *strides), (pad, *pads) = module.weight.detach(), module.stride, module.padding
        if module.dilation == (1, 1) and strides == [stride] and pads == [pad]:
            b = module.bias.detach() if module.bias is not None else torch.zeros(w.shape[0]).to(w)
            return Node(name, "map", sources, Conv(w, b, stride, pad, module.groups))
    elif isinstance(module, nn.Linear):
        return Node(name, "map", sources, Dense(module.weight.detach(), module.bias.detach()))
    elif isinstance(module, nn.BatchNorm2d):
        return Node(name, "map", sources, Scale(module.weight.detach(), module.bias.detach()))
    elif isinstance(module, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
        return Node(name, "average", sources, module)
    elif isinstance(module, (nn.ReLU, nn.ReLU6)):
        return Node(name, "pass", sources, module)
    elif isinstance(module, (nn.MaxPool2d, networks.OptionA)):
        return Node(name, "plain", sources, module)
    elif isinstance(module, Sum) or (module is None and called in ("add", "iadd")):
        return Node(name, "sum", sources)
    elif module is None and called == "cat" and traced.args[1:] == (1,):
        return Node(name, "plain", sources, lambda *x: torch.cat(x, 1))
    elif module is None and called == "flatten" and traced.args[1:] == (1,):
        return Node(name, "plain", sources, lambda x: torch.flatten(x, 1))
    raise ValueError(f"{name}: {module or traced.format_node()} is not described here")


class Graph:
    """A network with merged batch norms, its nodes in order of computation. The last one's value are the logits."""

    def __init__(self, merged):
        self.nodes, index = [], {}  # index: of a traced node, that of the Node or of the Nodes it stands for
        for traced in Tracer().trace(merged).nodes:
            if traced.op == "output":
                break
            module = merged.get_submodule(traced.target) if traced.op == "call_module" else None
            sources = sum((index[n] for n in traced.all_input_nodes), [])
            made = describe(traced, module, sources)
            if made:
                index[traced] = [len(self.nodes)]
                self.nodes.append(made)
            else:
                index[traced] = sources
        self.consumers = [[] for _ in self.nodes]
        for i, node in enumerate(self.nodes):
            for source in node.inputs:
                self.consumers[source].append(i)
        for i, node in enumerate(self.nodes):
            readers = [self.nodes[j] for j in self.consumers[i]]
            fused = len(readers) == 1 and type(readers[0].op) is nn.ReLU
            node.signed = isinstance(node.op, Scale) or not fused

    def values(self, x):
        """Every node's output for pictures x [n, 3, h, w]."""
        out = []
        with torch.no_grad():
            for node in self.nodes:
                read = [out[i] for i in node.inputs]
                if node.kind == "input":
                    out.append(x)
                elif node.kind == "map":
                    shape = (1, -1) + (1,) * (read[0].dim() - 2)
                    out.append(node.op.apply(read[0], node.op.w) + node.op.b.view(shape))
                elif node.kind == "sum":
                    out.append(sum(read[1:], read[0]))
                else:
                    out.append(node.op(*read))
        return out

    def with_maps(self, change):
        """The same graph with change(name, op) for every map's op."""
        other = copy.copy(self)
        other.nodes = [dataclasses.replace(node, op=change(node.name, node.op)) if node.kind == "map" else node
                       for node in self.nodes]
        return other

    def in_float32(self):
        return self.with_maps(lambda _, op: dataclasses.replace(op, w=op.w.float(), b=op.b.float()))
