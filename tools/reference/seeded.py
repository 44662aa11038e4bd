"""Values that Python and C++ make alike, bit for bit, from a name and a seed (weights/seeded.h is the twin).

    h      = 64-bit FNV-1a of the name's UTF-8 bytes
    stream = h xor mix(seed), mix being splitmix64's finaliser (Steele, Lea, Flood 2014)
    bits_i = mix(stream + i * 0x9e3779b97f4a7c15 mod 2^64), i the flat index in C order (weights: KCRS)
    u_i    = (bits_i >> 40) / 2^24, exact in float32
    x_i    = float32(low + (high - low) * u_i), computed in float64

`low` and `high` are float32 values, so the product has at most 49 significant bits: it is exact, and a
compiler that fuses the multiply with the add changes nothing.
"""
import numpy as np

GOLDEN_RATIO = np.uint64(0x9E3779B97F4A7C15)


def fnv1a(data: bytes) -> int:
    h = 0xCBF29CE484222325
    for byte in data:
        h = ((h ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def mix(z):
    """Splitmix64's finaliser, elementwise on a uint64 array (arithmetic modulo 2^64)."""
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniform(name: str, count: int, seed: int) -> np.ndarray:
    """`count` values in [0, 1), multiples of 2^-24, as float64."""
    stream = np.array([fnv1a(name.encode())], np.uint64) ^ mix(np.array([seed], np.uint64))
    bits = mix(stream + np.arange(count, dtype=np.uint64) * GOLDEN_RATIO)
    return (bits >> np.uint64(40)).astype(np.float64) / 2.0**24


def is_batch_norm(module: str) -> bool:
    """Torchvision's names tell: bn1, norm2, or whatever stands at position 1 of a `downsample`."""
    parts = module.split(".")
    return parts[-1].startswith(("bn", "norm")) or parts[-2:] == ["downsample", "1"]


def value_range(name: str, shape) -> tuple[float, float]:
    """(low, high) of a parameter, told by its name's last part, its rank and its module's name."""
    module, _, kind = name.rpartition(".")
    rank = len(shape)
    if kind == "weight" and rank == 4:
        bound = np.float32(np.sqrt(6.0 / (shape[1] * shape[2] * shape[3])))
    elif kind == "weight" and rank == 2:
        bound = np.float32(np.sqrt(3.0 / shape[1]))
    elif kind == "weight" and rank == 1:
        return 0.5, 1.5
    elif kind == "bias" and rank == 1:
        bound = np.float32(0.3) if is_batch_norm(module) else np.float32(0.1)
    elif kind == "running_mean" and rank == 1:
        return 0.0, 0.0
    elif kind == "running_var" and rank == 1:
        return 1.0, 1.0
    else:
        raise ValueError(f"{name}: no seeded values for a tensor of shape {list(shape)}")
    return -float(bound), float(bound)


def seeded_tensor(name: str, shape, seed: int) -> np.ndarray:
    low, high = value_range(name, shape)
    u = uniform(name, int(np.prod(shape)), seed)
    return (low + (high - low) * u).astype(np.float32).reshape(shape)
