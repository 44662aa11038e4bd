"""Layer-wise relevance in float64 over any graph of graph_networks, in the R form; the configurations are those of
lrp_reference, and so are the rules for one linear map. Does not use Zennit.

  convolutions       the first one: the first rule; others: the middle rule
  linear layers, and batch norms that no convolution precedes (a map y = k x + b per channel): epsilon, with bias
  average pools      the norm rule: epsilon without parameters
  residual sums      split: the norm rule. joint: one linear map with its branches, under the middle rule; a branch is a
                     convolution that nobody else reads, or else the value that joins, with a weight of 1
  ReLU, ReLU6        relevance passes unchanged, also where the unit sits at the ceiling: below, the convolution divides
                     by its own output
  anything else      (max-pool, concatenation, flattening) as in a gradient
"""
import dataclasses

import torch

from lrp_reference import Branch, Config, divide, first_relevance, relevance
from networks import Conv


def back(op, inputs, signal):
    """The signal at the inputs, as in a gradient."""
    leaves = [x.detach().requires_grad_() for x in inputs]
    with torch.enable_grad():
        return torch.autograd.grad(op(*leaves), leaves, signal)


def lrp(graph, x, target, config: Config, start=None):
    """[3, h, w]; start: the target's relevance, its logit if None."""
    values = graph.values(x)
    logits = values[-1]
    R = [None] * len(values)
    R[-1] = torch.zeros_like(logits)
    R[-1][0, target] = logits[0, target] if start is None else start
    norm = dataclasses.replace(config, bias="absorb")
    itself = lambda v: v

    def give(i, share):
        R[i] = share if R[i] is None else R[i] + share

    def arm(i):
        """The input of a joint sum: (the index of what its relevance goes to, the branch)."""
        node = graph.nodes[i]
        if node.kind == "map" and isinstance(node.op, Conv) and len(graph.consumers[i]) == 1:
            return node.inputs[0], Branch(values[node.inputs[0]], node.op)
        return i, Branch(values[i], itself)

    for i in range(len(values) - 1, 0, -1):
        node, r = graph.nodes[i], R[i]
        if r is None:  # a branch of a joint sum
            continue
        R[i] = None
        inputs = [values[j] for j in node.inputs]
        if node.kind == "map":
            if graph.nodes[node.inputs[0]].kind == "input":
                give(0, first_relevance(node.op, x, r, config, node.signed))
            else:
                rule = config.middle if isinstance(node.op, Conv) else "epsilon"
                give(node.inputs[0], relevance([Branch(inputs[0], node.op)], r, rule, config, node.signed)[0])
        elif node.kind == "sum" and config.residual == "joint":
            arms = [arm(j) for j in node.inputs]
            shares = relevance([branch for _, branch in arms], r, config.middle, config, node.signed)
            for (to, _), share in zip(arms, shares):
                give(to, share)
        elif node.kind == "sum":
            for j, share in zip(node.inputs, relevance([Branch(v, itself) for v in inputs], r, "epsilon", norm)):
                give(j, share)
        elif node.kind == "average":
            give(node.inputs[0], inputs[0] * back(node.op, inputs, divide(r, values[i], config.epsilon))[0])
        elif node.kind == "pass":
            give(node.inputs[0], r)
        else:
            for j, share in zip(node.inputs, back(node.op, inputs, r)):
                give(j, share)
    return R[0][0]
