"""How well float32 can follow the network at one picture: what pictures of the golden files are chosen by.

`closest_switch` is about values: does rounding change a decision (a ReLU, a max-pool)? `condition_number`
is about maps: by how much does rounding grow on its way into a relevance map? Epsilon in split form is the
sensitive one. There every sum z meets the quotient z / (z + eps sgn z), eps = 1e-6, whose derivative is eps
/ (|z| + eps)^2: nothing for ordinary sums, but 1 / eps at 0. An error of 1e-7 in a sum of 1e-6 turns a
unit's share of the relevance by a fortieth, and a network has a few sums that small in every picture, most
often a residual branch's own output, on which no ReLU decides. With s the signals that enter a layer's
quotients, the largest |s_j| eps / (|z_j| + eps)^2 rms(z) / |s| predicts it: 3 to 10 for the chosen
pictures, 70 to 3000 for others measured.
"""
import dataclasses

import torch
import torch.nn.functional as F

import lrp_reference
import networks
from seeded import uniform

# Pictures are chosen among these seeded ones: decisions no closer to a tie than MIN_SWITCH, a leading class,
# and of those well conditioned ones (generate.py --choose lists them).
CANDIDATES = 200
MIN_SWITCH, MIN_MARGIN = 8e-6, 0.1
DRAWS = 4
JITTER = 1e-9  # small enough for the answer to be a derivative and no ReLU to switch


def rms(z):
    return z.square().mean().sqrt()


def pool_gap(y):
    """Smallest gap between the two largest values of a window of the 3x3 max-pool, y [n, C, h, w] >= 0."""
    windows = F.unfold(F.pad(y, (1, 1, 1, 1)).flatten(0, 1)[:, None], 3, stride=2)
    top = windows.topk(2, dim=1).values
    return (top[:, 0] - top[:, 1])[top[:, 0] > 0].min()


def closest_switch(net, x):
    """How close the picture comes to another piece of the piecewise linear network: the smallest
    |pre-activation| of a ReLU, or gap between the two largest values of a max-pool's window, over its layer's
    root mean square. Where it is no larger than float32's rounding error, a ReLU may switch, and gradients
    jump."""
    t = lrp_reference.Trace(net, x)
    smallest = [z.abs().min() / rms(z) for block, (inner, tail) in zip(net.blocks, t.blocks)
                for z in (*(conv(x_in) for conv, x_in in zip(block.convs[:-1], inner)), tail)]
    stem = net.stem(x)
    smallest.append(stem.abs().min() / rms(stem))
    if net.pool:
        smallest.append(pool_gap(t.stem) / rms(t.stem))
    return float(min(smallest))


def jittered(net, draw):
    """The folded network with every convolution's weight multiplied by 1 + JITTER r, r of variance 1."""
    def jitter(name, op):
        if not isinstance(op, networks.Conv):
            return op
        r = (2 * uniform(f"jitter{draw}.{name}", op.w.numel(), 0) - 1) * 3**0.5
        return dataclasses.replace(op, w=op.w * (1 + JITTER * torch.from_numpy(r).view_as(op.w)))

    blocks = [networks.Block(b.name, [jitter(f"{b.name}.conv{n}", conv) for n, conv in enumerate(b.convs, 1)],
                             jitter(f"{b.name}.shortcut", b.shortcut)) for b in net.blocks]
    return networks.Folded(jitter("stem", net.stem), net.pool, blocks, net.linear)


def condition_number(net, jittered_nets, x, target):
    """Relative RMS change of Zennit's `epsilon` map over the weights' relative change, root mean square over
    the draws. A weight's jitter moves every sum by about JITTER rms(z), as rounding does: PyTorch's float32
    map is 1e-7 to 5e-7 times this number off."""
    config = lrp_reference.ZENNIT["epsilon"]
    exact = lrp_reference.lrp_r_form(net, x, target, config, start=1.0)
    changes = [rms(lrp_reference.lrp_r_form(other, x, target, config, start=1.0) - exact) / rms(exact)
               for other in jittered_nets]
    return float(rms(torch.stack(changes))) / JITTER
