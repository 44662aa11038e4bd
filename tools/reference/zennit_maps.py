"""Zennit's composites on a network whose batch norms are merged where a convolution precedes them; the others have the
epsilon rule. Residual sums are layers of their own with the norm rule (`residual=split`), biases absorb, the start is
one-hot."""
import torch
import torchvision
from torch import nn
from zennit.composites import (EpsilonAlpha2Beta1, EpsilonAlpha2Beta1Flat, EpsilonGammaBox, EpsilonPlus,
                               EpsilonPlusFlat, LayerMapComposite, layer_map_base)
from zennit.rules import Epsilon
from zennit.torchvision import ResNetCanonizer
from zennit.types import BatchNorm, Linear

from networks import pixel_range


def composites(canonizers):
    low, high = pixel_range()
    own = {"layer_map": [(BatchNorm, Epsilon(1e-6))], "canonizers": canonizers}
    return {
        "epsilon": LayerMapComposite(own["layer_map"] + layer_map_base() + [(Linear, Epsilon(1e-6))],
                                     canonizers=canonizers),
        "epsilon-plus": EpsilonPlus(**own),
        "epsilon-plus-flat": EpsilonPlusFlat(**own),
        "epsilon-gamma-box": EpsilonGammaBox(low=low, high=high, **own),
        "epsilon-alpha2-beta1": EpsilonAlpha2Beta1(**own),
        "epsilon-alpha2-beta1-flat": EpsilonAlpha2Beta1Flat(**own),
    }


def zennit_maps(merged: nn.Module, x, target):
    """{composite: [3, h, w]}, x [1, 3, h, w]. The merged model comes from merge_batch_norms of networks or
    graph_networks: Zennit 0.5 merges too, but leaves eps = 1e-5 in the batch norm it means to turn into the identity."""
    # Models that call Zennit's Sum themselves need no canonizer. This one would also fold a batch norm into whatever
    # convolution is registered before it.
    canonizers = [ResNetCanonizer()] if isinstance(merged, torchvision.models.ResNet) else []
    maps = {}
    for name, composite in composites(canonizers).items():
        with composite.context(merged) as hooked:
            leaf = x.clone().requires_grad_()
            logits = hooked(leaf)
            start = torch.zeros_like(logits)
            start[0, target] = 1
            maps[name], = torch.autograd.grad(logits, leaf, start)
            maps[name] = maps[name][0]
    return maps
