"""Zennit's composites on a network whose batch norms are merged. Residual sums are layers of their own with
the norm rule (`residual=split`), biases absorb, the start is one-hot."""
import torch
from torch import nn
from zennit.composites import (EpsilonAlpha2Beta1, EpsilonAlpha2Beta1Flat, EpsilonGammaBox, EpsilonPlus,
                               EpsilonPlusFlat, LayerMapComposite, layer_map_base)
from zennit.rules import Epsilon
from zennit.torchvision import ResNetCanonizer
from zennit.types import Linear

from networks import pixel_range


def composites(canonizers):
    low, high = pixel_range()
    return {
        "epsilon": LayerMapComposite(layer_map_base() + [(Linear, Epsilon(1e-6))], canonizers=canonizers),
        "epsilon-plus": EpsilonPlus(canonizers=canonizers),
        "epsilon-plus-flat": EpsilonPlusFlat(canonizers=canonizers),
        "epsilon-gamma-box": EpsilonGammaBox(low=low, high=high, canonizers=canonizers),
        "epsilon-alpha2-beta1": EpsilonAlpha2Beta1(canonizers=canonizers),
        "epsilon-alpha2-beta1-flat": EpsilonAlpha2Beta1Flat(canonizers=canonizers),
    }


def zennit_maps(merged: nn.Module, x, target):
    """{composite: [3, h, w]}, x [1, 3, h, w]. The merged model comes from networks.merge_batch_norms: Zennit
    0.5 merges too, but leaves eps = 1e-5 in the batch norm it means to turn into the identity."""
    # For our own blocks, which call Zennit's Sum themselves, this canonizer finds nothing to do.
    maps = {}
    for name, composite in composites([ResNetCanonizer()]).items():
        with composite.context(merged) as hooked:
            leaf = x.clone().requires_grad_()
            logits = hooked(leaf)
            start = torch.zeros_like(logits)
            start[0, target] = 1
            maps[name], = torch.autograd.grad(logits, leaf, start)
            maps[name] = maps[name][0]
    return maps
