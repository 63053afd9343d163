"""Times one training step of the network in PyTorch, and of this project's program in turn with it.

A step is a forward pass, the Charbonnier loss, a backward pass and Adam. Options, output and the
placeholders of `--ours` are those of `bench.py`; the worker is `train_worker.py`.
"""

from bench import Benchmark, main
from settings import TRAINING

DEFAULT_SETTINGS = (
    "eager-f32,fused-f32,bf16-eager,bf16-fused,eager-f32-published,"
    "eager-f32-checkpoint,fused-f32-checkpoint,bf16-eager-checkpoint,bf16-fused-checkpoint"
)
FIDELITY = ("gradients' distance to eager-f32", "gradient_distance", ".1e")


if __name__ == "__main__":
    main(Benchmark(__doc__, "train_worker.py", TRAINING, DEFAULT_SETTINGS, FIDELITY))
