"""The ways of running and of training the network that the benchmarks know, by name."""

from typing import NamedTuple


class Setting(NamedTuple):
    """What runs the network, how attention is computed, and in which precision."""

    engine: str
    attention: str
    precision: str


SETTINGS = {
    "eager-f32": Setting("torch", "eager", "f32"),
    "fused-f32": Setting("torch", "fused", "f32"),
    "bf16-eager": Setting("torch", "eager", "bf16"),
    "bf16-fused": Setting("torch", "fused", "bf16"),
    "compile-f32": Setting("compile", "eager", "f32"),
    "compile-fused-f32": Setting("compile", "fused", "f32"),
    "compile-bf16": Setting("compile", "eager", "bf16"),
    "compile-fused-bf16": Setting("compile", "fused", "bf16"),
    "openvino-f32": Setting("openvino", "eager", "f32"),
    "openvino-fused-f32": Setting("openvino", "fused", "f32"),
    "openvino-bf16": Setting("openvino", "eager", "bf16"),
    "openvino-fused-bf16": Setting("openvino", "fused", "bf16"),
}


class Training(NamedTuple):
    """How attention is computed, in which precision, and which blocks are recomputed backwards."""

    attention: str
    precision: str
    recompute: str
    engine: str = "torch"


TRAINING = {
    name + suffix: Training(SETTINGS[name].attention, SETTINGS[name].precision, recompute)
    for suffix, recompute in (("", "none"), ("-published", "published"), ("-checkpoint", "all"))
    for name in ("eager-f32", "fused-f32", "bf16-eager", "bf16-fused")
}
