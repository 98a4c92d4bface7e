"""The least time that a stack can take on a device whose kernels fuse what plans of this compiler may fuse, whatever plan it is.

Each module is a list of kernels; a kernel takes the longest of arithmetic, memory traffic and exponentials at the rates of a device profile.
Attention is one kernel with online softmax, which reads its pair bias once; layer norm, gate, bias and residual belong to the matrix product beside
them; what passes between two matrix products (queries, hidden channels, the outer product) goes through memory. Weights are small and not counted.
Backward computes the scores of attention again; what it needs from forward is kept, or made by running forward once more (`recompute`).
"""
from dataclasses import dataclass

ELEMENT_BYTES = {"fp64": 8, "fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}


@dataclass(frozen=True)
class Kernel:
    flops: float = 0
    elements: float = 0  # read and written, in the type that the plan stores
    statistics: float = 0  # likewise, in fp32 (fp64 where that is stored)
    exps: float = 0


@dataclass
class Module:
    forward: list
    backward: list
    kept: list  # what forward writes only because backward reads it


def attention(positions, channels, heads, width, keys, pairs=0, pair_channels=0):
    """Gated attention of `positions` queries to `keys` each. With `pairs` it has a bias for each pair and head, which a projection of
    `pair_channels` makes, or where these are 0 one of its own input."""
    n, inner, scores = positions, heads * width, positions * heads * keys
    of_input = heads if pairs and not pair_channels else 0
    made = 4 * inner + of_input
    bias = heads * pairs
    forward = [Kernel(2 * n * channels * made, n * (channels + made)),
               Kernel(4 * n * keys * inner, 4 * n * inner + bias, n * heads, scores),
               Kernel(2 * n * inner * channels, 2 * n * (inner + channels))]
    backward = [Kernel(2 * n * inner * channels, n * (channels + 4 * inner)),
                Kernel(2 * n * inner * channels, n * (channels + 2 * inner)),
                Kernel(10 * n * keys * inner, 8 * n * inner + bias, n * heads + bias, scores),
                Kernel(2 * n * channels * made, n * (4 * inner + 3 * channels), n * of_input),
                Kernel(2 * n * channels * made, n * (4 * inner + channels), n * of_input)]
    if pair_channels:
        forward.append(Kernel(2 * pairs * pair_channels * heads, pairs * (pair_channels + heads)))
        backward.append(Kernel(4 * pairs * pair_channels * heads, 3 * pairs * pair_channels, bias))
    return Module(forward, backward, [])


def global_attention(s, r, channels, heads, width):
    """One query a column, keys and values shared by the heads."""
    n, inner = s * r, heads * width
    mixed = 4 * r * heads * s * width
    forward = [Kernel(4 * n * channels * width + 2 * r * channels * inner, n * (channels + 2 * width)),
               Kernel(mixed, 2 * n * width, 0, r * heads * s),
               Kernel(2 * n * channels * inner, n * (channels + inner)),
               Kernel(2 * n * inner * channels, n * (inner + 2 * channels))]
    projections = 2 * n * channels * (2 * width + inner)
    backward = [Kernel(2 * n * inner * channels, n * (channels + 2 * inner)),
                Kernel(2 * n * inner * channels, n * (channels + inner)),
                Kernel(2.5 * mixed, 4 * n * width, 0, r * heads * s),
                Kernel(projections, n * (inner + 2 * width + 3 * channels)),
                Kernel(projections, n * (inner + 2 * width + channels))]
    return Module(forward, backward, [])


def transition(positions, channels, factor):
    n, hidden = positions, factor * channels
    product = 2 * n * channels * hidden
    forward = [Kernel(product, n * (channels + hidden)), Kernel(product, n * (hidden + 2 * channels))]
    backward = [Kernel(product, n * (channels + 2 * hidden)), Kernel(product, n * (channels + hidden)),
                Kernel(product, n * (hidden + 3 * channels)), Kernel(product, n * (hidden + channels))]
    return Module(forward, backward, [])


def outer_product_mean(s, r, channels, pair_channels, hidden):
    n, pairs, square = s * r, r * r, hidden * hidden
    project, outer, out = 4 * n * channels * hidden, 2 * s * pairs * square, 2 * pairs * square * pair_channels
    forward = [Kernel(project, n * (channels + 2 * hidden)), Kernel(outer, 2 * n * hidden + pairs * square),
               Kernel(out, pairs * (square + 2 * pair_channels))]
    backward = [Kernel(out, pairs * (pair_channels + square))] * 2 + [Kernel(outer, pairs * square + 2 * n * hidden)] * 2 + [
        Kernel(project, n * (2 * hidden + 3 * channels)), Kernel(project, n * (2 * hidden + channels))]
    return Module(forward, backward, [])


def triangle_multiplication(r, channels, hidden):
    pairs = r * r
    project, mix, out = 2 * pairs * channels * (4 * hidden + channels), 2 * hidden * r ** 3, 2 * pairs * hidden * channels
    forward = [Kernel(project, 2 * pairs * (channels + hidden)), Kernel(mix, 3 * pairs * hidden), Kernel(out, pairs * (hidden + 3 * channels))]
    backward = [Kernel(out, pairs * (5 * channels + 2 * hidden)), Kernel(out, pairs * (hidden + channels)), Kernel(2 * mix, 6 * pairs * hidden),
                Kernel(project, pairs * (10 * hidden + 4 * channels)), Kernel(project, pairs * (4 * hidden + 2 * channels))]
    return Module(forward, backward, [Kernel(0, pairs * (4 * hidden + channels))])


def modules(spec):
    """The modules of a block of a specification with an MSA, by name."""
    c, s, r = spec["channels"], spec["sizes"]["s"], spec["sizes"]["r"]
    m, z, n, pairs = c["c_m"], c["c_z"], s * r, r * r
    heads, width, pair_heads, pair_width = c["no_heads_msa"], c["c_hidden_msa_att"], c["no_heads_pair"], c["c_hidden_pair_att"]
    column = global_attention(s, r, m, heads, width) if spec["stack"] == "extra_msa" else attention(n, m, heads, width, s)
    triangle = attention(pairs, z, pair_heads, pair_width, r, pairs)
    multiplication = triangle_multiplication(r, z, c["c_hidden_mul"])
    return {"row attention": attention(n, m, heads, width, r, pairs, z), "column attention": column,
            "MSA transition": transition(n, m, c["transition_n"]), "outer product mean": outer_product_mean(s, r, m, z, c["c_hidden_opm"]),
            "triangle multiplication, outgoing": multiplication, "triangle multiplication, incoming": multiplication,
            "triangle attention, starting": triangle, "triangle attention, ending": triangle, "pair transition": transition(pairs, z, c["transition_n"])}


def kernel_seconds(kernel, rates, dtype):
    """At the rates of a device profile's file."""
    moved = kernel.elements * ELEMENT_BYTES[dtype] + kernel.statistics * (8 if dtype == "fp64" else 4)
    return max(kernel.flops / rates["matmul_flop_per_s"][dtype], moved / rates["memory_bytes_per_s"], kernel.exps / rates["exp_per_s"])


def fused_limit_ms(spec, rates, dtype, recompute=False):
    """Of all blocks of a specification, in its mode; `recompute`: each block runs forward twice."""
    def seconds(kernels):
        return sum(kernel_seconds(kernel, rates, dtype) for kernel in kernels)
    block = 0.0
    for module in modules(spec).values():
        forward = seconds(module.forward)
        block += forward
        if spec["mode"] == "train":
            block += seconds(module.kept) + seconds(module.backward) + (forward if recompute else 0)
    return 1000 * spec["blocks"] * block
