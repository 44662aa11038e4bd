"""Layer-wise relevance in float64, written twice: as relevance R (the textbook's form, any rule) and as
relevance per unit of activation c = R / a (joint residual only: what the engine computes). Neither uses
Zennit.

A configuration is (first, middle, gamma, bias, residual); the last layer always has the epsilon rule.
  first     flat | z-box | same (the middle rule)
  middle    epsilon | z-plus | gamma | alpha2-beta1
  bias      absorb  it sits in the denominator and keeps its share
            ignore  denominators and gamma's branch leave it out
            spread  it sits in the denominator, and its share goes back to the contributions of the output's
                    sign (under the epsilon rule, where no ReLU rectifies the output: to all, by magnitude)
  residual  joint   a block's last convolution and its shortcut are one linear map
            split   the sum is a layer with the norm rule, each branch a layer below it
"""
import dataclasses

import torch
import torch.nn.functional as F

from networks import Conv, Folded, pixel_range


@dataclasses.dataclass(frozen=True)
class Config:
    first: str
    middle: str
    gamma: float = 0.25
    bias: str = "absorb"
    residual: str = "joint"
    epsilon: float = 0.0  # 0: quotients whose denominator is 0 count as 0


def divide(a, b, epsilon=0.0):
    if epsilon:
        b = b + epsilon * torch.where(b < 0, -1.0, 1.0)
    quotient = a / torch.where(b == 0, torch.ones_like(b), b)
    return torch.where((a == 0) | (b == 0), torch.zeros_like(a), quotient)


class Trace:
    """Every activation of one forward pass (x [1, 3, h, w])."""

    def __init__(self, net: Folded, x):
        self.x = x
        self.stem = F.relu(net.stem(x))
        self.blocks = []
        a = self.stem
        if net.pool:
            a, self.argmax = F.max_pool2d(a, 3, 2, 1, return_indices=True)
        for block in net.blocks:
            inner = [a]  # what each convolution sees
            for conv in block.convs[:-1]:
                inner.append(F.relu(conv(inner[-1])))
            z = block.convs[-1](inner[-1]) + block.shortcut(a)
            self.blocks.append((inner, z))
            a = F.relu(z)
        self.features = a
        self.pooled = a.mean((2, 3))
        self.logits = F.linear(self.pooled, *net.linear)

    def unpool(self, signal):
        """To each window's winner. Windows overlap, so a pixel may win twice: the shares add up."""
        out = torch.zeros_like(self.stem).flatten(2)
        return out.scatter_add(2, self.argmax.flatten(2), signal.flatten(2)).view_as(self.stem)


# --- R form ---

class Branch:
    """One linear map x -> A(x) + b, A an operation with weights `w` and bias `b` (a Conv, say) or a map without
    parameters whose weights are 0 and 1."""

    def __init__(self, x, op):
        self.x = x
        self.op = op
        ones = (1,) * (x.dim() - 2)
        self.b = op.b.view(1, -1, *ones) if hasattr(op, "b") else torch.zeros(1, 1, *ones, dtype=x.dtype)

    def apply(self, modify, x):
        """A with its weights replaced by modify(weights), at x, without bias."""
        if hasattr(self.op, "w"):
            return self.op.apply(x, modify(self.op.w))
        return float(modify(torch.ones(()))) * self.op(x)


positive = lambda w: w.clamp(min=0)
negative = lambda w: w.clamp(max=0)


class Part:
    """Contributions x+ u + x- v (u, v made from the weights) of several branches, with a bias term; `back`
    hands a signal s_j to every input: x+ u s + x- v s, per branch."""

    def __init__(self, branches, on_positive, on_negative, bias):
        self.leaves = [[positive(b.x).requires_grad_(), negative(b.x).requires_grad_()] for b in branches]
        with torch.enable_grad():
            self.sum = sum(b.apply(on_positive, p) + b.apply(on_negative, n)
                           for b, (p, n) in zip(branches, self.leaves))
        self.bias = sum(bias(b.b) for b in branches)
        self.contributions = self.sum.detach()

    def back(self, s):
        flat = [leaf for pair in self.leaves for leaf in pair]
        grads = torch.autograd.grad(self.sum, flat, s, retain_graph=True)
        products = [(leaf * g).detach() for leaf, g in zip(flat, grads)]
        return [p + n for p, n in zip(products[::2], products[1::2])]


def relevance(branches, R, rule, config, signed=True):
    """Relevance of each branch's input from the relevance R of the sum of the branches. signed: no ReLU behind
    the sum, so that negative outputs carry relevance too."""
    g, identity = config.gamma, lambda w: w
    make = {
        "z": lambda: Part(branches, identity, identity, identity),
        "up": lambda: Part(branches, positive, negative, positive),
        "down": lambda: Part(branches, negative, positive, negative),
        "raised": lambda: Part(branches, lambda w: w + g * positive(w), lambda w: w + g * negative(w),
                               lambda b: b + g * positive(b)),
        "lowered": lambda: Part(branches, lambda w: w + g * negative(w), lambda w: w + g * positive(w),
                                lambda b: b + g * negative(b)),
    }
    made = {}

    def part_of(name):
        if name not in made:
            made[name] = make[name]()
        return made[name]

    def output_sign():  # of the sum that the denominators are made of
        z = part_of("z")
        return torch.sign(z.contributions + (0 if config.bias == "ignore" else z.bias))

    if rule == "epsilon":
        parts = [(part_of("z"), R)]
    elif rule == "z-plus":
        parts = [(part_of("up"), R)]
    elif rule == "alpha2-beta1":
        parts = [(part_of("up"), 2 * R), (part_of("down"), -R)]
    elif rule == "gamma":
        parts = [(part_of("raised"), R * (output_sign() > 0)), (part_of("lowered"), R * (output_sign() < 0))]
    else:
        raise ValueError(rule)

    result = [torch.zeros_like(b.x) for b in branches]

    def add(shares):
        for i, share in enumerate(shares):
            result[i] = result[i] + share

    for part, r in parts:
        denominator = part.contributions + (0 if config.bias == "ignore" else part.bias)
        s = divide(r, denominator, config.epsilon)
        add(part.back(s))
        if config.bias == "spread":
            up, down = part_of("up"), part_of("down")
            if rule == "epsilon" and not signed:
                add(up.back(divide(s * part.bias, up.contributions)))
            elif rule == "epsilon":
                magnitude = up.contributions - down.contributions
                f = divide(s * part.bias, magnitude)
                add([a - b for a, b in zip(up.back(f), down.back(f))])
            else:
                for support, chosen in ((up, output_sign() > 0), (down, output_sign() < 0)):
                    add(support.back(divide(s * part.bias * chosen, support.contributions)))
    return result


def first_relevance(conv, picture, R, config, signed=False):
    """Of the pixels, from the relevance of the first convolution's output."""
    if config.first == "same":
        return relevance([Branch(picture, conv)], R, config.middle, config, signed)[0]
    apply = lambda w, x: conv.apply(x, w)
    ones = torch.ones_like(picture)
    if config.first == "flat":
        terms = [(ones, torch.ones_like(conv.w), 1.0)]
    elif config.first == "z-box":
        low, high = (v.to(picture) for v in pixel_range())
        terms = [(picture, conv.w, 1.0), (low * ones, positive(conv.w), -1.0),
                 (high * ones, negative(conv.w), -1.0)]
    else:
        raise ValueError(config.first)
    s = divide(R, sum(sign * apply(w, x) for x, w, sign in terms), config.epsilon)
    back = lambda w: conv.back(picture.shape, w, s)
    return sum(sign * x * back(w) for x, w, sign in terms)


def lrp_r_form(net: Folded, x, target, config: Config, start=None):
    """[3, h, w]; start: the target's relevance, its logit if None."""
    t = Trace(net, x)
    logit = t.logits[0, target]
    R = logit if start is None else torch.tensor(start, dtype=x.dtype)
    w, b = net.linear[0][target:target + 1], net.linear[1][target:target + 1]
    p = t.pooled[:, :, None, None]
    R = relevance([Branch(p, Conv(w[:, :, None, None], b, 1, 0))], R.view(1, 1, 1, 1), "epsilon", config)[0]
    # The average pool: the norm rule over each channel's pixels.
    n = t.features.shape[2] * t.features.shape[3]
    R = t.features * divide(R, p, config.epsilon) / n
    norm = dataclasses.replace(config, bias="absorb")
    for block, (inner, z) in zip(reversed(net.blocks), reversed(t.blocks)):
        a, h, last = inner[0], inner[-1], block.convs[-1]
        if config.residual == "joint":
            tail = [Branch(h, last), Branch(a, block.shortcut)]
            R_h, R_a = relevance(tail, R, config.middle, config, signed=False)
        else:
            branch, skip = last(h), block.shortcut(a)
            to = lambda y: Branch(y, lambda v: v)
            R_branch, R_skip = relevance([to(branch), to(skip)], R, "epsilon", norm)
            R_h, = relevance([Branch(h, last)], R_branch, config.middle, config)
            if isinstance(block.shortcut, Conv):
                R_a, = relevance([Branch(a, block.shortcut)], R_skip, config.middle, config)
            else:  # option A and the identity have no rule: each pixel goes back where it came from
                leaf = a.detach().requires_grad_()
                with torch.enable_grad():
                    R_a, = torch.autograd.grad(block.shortcut(leaf), leaf, R_skip)
        for x_in, conv in zip(reversed(inner[:-1]), reversed(block.convs[:-1])):
            R_h, = relevance([Branch(x_in, conv)], R_h, config.middle, config, signed=False)
        R = R_a + R_h
    if net.pool:
        R = t.unpool(R)
    return first_relevance(net.stem, x, R, config)[0]


# --- c form ---

def transposed(op, shape, modify, s):
    """Aᵀ s with modified weights."""
    if isinstance(op, Conv):
        return op.back(shape, modify(op.w), s)
    leaf = torch.zeros(shape, dtype=s.dtype).requires_grad_()
    with torch.enable_grad():
        out = float(modify(torch.ones(()))) * op(leaf)
    return torch.autograd.grad(out, leaf, s)[0]


def c_through(ops, inputs, c, z, config):
    """c of each input (all >= 0) of z = sum of ops(inputs), from c of relu(z)."""
    identity = lambda w: w
    raised = lambda w: w + config.gamma * positive(w)
    back = lambda modify, s: [transposed(op, x.shape, modify, s) for op, x in zip(ops, inputs)]
    if config.middle == "epsilon" and config.bias == "absorb":
        return back(identity, c * (z > 0))
    biases = [op.b.view(1, -1, 1, 1) for op in ops if isinstance(op, Conv)]
    b, b_plus = sum(biases), sum(positive(v) for v in biases)
    P = sum(op.apply(x, positive(op.w)) if isinstance(op, Conv) else op(x)
            for op, x in zip(ops, inputs))
    a = F.relu(z)
    if config.middle == "z-plus" and config.bias in ("ignore", "absorb"):
        return back(positive, divide(c * a, P if config.bias == "ignore" else P + b_plus))
    if config.middle == "gamma" and config.bias in ("absorb", "spread"):
        s = divide(c * a, z + config.gamma * (P + b_plus))
        if config.bias == "absorb":
            return back(raised, s)
        f = s * torch.where(P == 0, torch.zeros_like(P), config.gamma + divide(b + config.gamma * b_plus, P))
        return [own + more for own, more in zip(back(identity, s), back(positive, f))]
    raise ValueError(f"no c form for {config}")


def lrp_c_form(net: Folded, x, target, config: Config):
    """[3, h, w]; joint residual, epsilon 0, start = logit."""
    t = Trace(net, x)
    w, b = net.linear[0][target:target + 1], net.linear[1][target]
    p, z = t.pooled, t.logits[0, target]
    if config.bias == "ignore":
        c = w * divide(z, z - b)
    else:
        c = w.clone()
        if config.bias == "spread":
            c = c + w.abs() * divide(b, (p * w.abs()).sum())
    n = t.features.shape[2] * t.features.shape[3]
    c = (c / n)[:, :, None, None].expand_as(t.features)
    for block, (inner, z) in zip(reversed(net.blocks), reversed(t.blocks)):
        c_h, c_a = c_through([block.convs[-1], block.shortcut], [inner[-1], inner[0]], c, z, config)
        for x_in, conv in zip(reversed(inner[:-1]), reversed(block.convs[:-1])):
            c_h, = c_through([conv], [x_in], c_h, conv(x_in), config)
        c = c_a + c_h
    if net.pool:
        c = t.unpool(c)
    if config.first == "same" and config.middle == "epsilon":
        # The one rule of c_through that takes signed inputs.
        c, = c_through([net.stem], [x], c, net.stem(x), config)
        return (x * c)[0]
    return first_relevance(net.stem, x, c * t.stem, config)[0]


# --- the configurations of the golden files ---

GOLDEN = {
    "gamma-flat": Config("flat", "gamma", bias="spread"),
    "gamma-flat.absorb-joint": Config("flat", "gamma", bias="absorb"),
    "epsilon-plus-flat.ignore-joint": Config("flat", "z-plus", bias="ignore"),
    "epsilon-plus-flat.absorb-joint": Config("flat", "z-plus", bias="absorb"),
    "epsilon.absorb-joint": Config("same", "epsilon", bias="absorb"),
    "gamma-flat.spread-split": Config("flat", "gamma", bias="spread", residual="split"),
}
# Zennit's composites in our terms.
ZENNIT = {
    "epsilon": Config("same", "epsilon", residual="split", epsilon=1e-6),
    "epsilon-plus": Config("same", "z-plus", residual="split", epsilon=1e-6),
    "epsilon-plus-flat": Config("flat", "z-plus", residual="split", epsilon=1e-6),
    "epsilon-gamma-box": Config("z-box", "gamma", residual="split", epsilon=1e-6),
    "epsilon-alpha2-beta1": Config("same", "alpha2-beta1", residual="split", epsilon=1e-6),
    "epsilon-alpha2-beta1-flat": Config("flat", "alpha2-beta1", residual="split", epsilon=1e-6),
}
