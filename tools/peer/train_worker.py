"""Times training steps of the network in this process; prints one JSON line for train_step.py."""

import json
from contextlib import nullcontext

import torch

from presets import PRESETS, recomputed
from settings import TRAINING
from vrt_torch import Vrt, initialise
from worker import measured, set_up, timed

LEARNING_RATE = 4e-4
BETAS = (0.9, 0.99)
INSIDE_ROOT = 1e-9


def charbonnier(output, target):
    """The published loss: the mean of √(d² + 1e-9)."""
    return ((output - target).square() + INSIDE_ROOT).sqrt().mean()


def pair(config, size, seed):
    """A random input and a random target of the size that the network restores it to."""
    frames, height, width = size
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(1, frames, config.input_channels, height, width, generator=generator)
    restored = frames if config.reach else 1
    shape = (1, restored, config.out_chans, config.upscale * height, config.upscale * width)
    return x, torch.rand(shape, generator=generator)


def prepare(arguments, setting):
    """A function that takes one step, and the network that it trains."""
    config = PRESETS[arguments.preset]
    model = Vrt(config, setting.attention).train()
    initialise(model, arguments.seed)
    model.set_recompute(*recomputed(arguments.preset, setting.recompute))
    x, target = pair(config, arguments.size, arguments.seed)
    adam = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=BETAS, fused=True)
    bf16 = setting.precision == "bf16"

    def step():
        adam.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            output = model(x)
        loss = charbonnier(output.float(), target)
        loss.backward()
        adam.step()
        return loss.item()

    return step, model


def distance_of_gradients(model, reference, save):
    """‖g − g₀‖ / ‖g₀‖ over all parameters; `None` where these gradients are stored as g₀."""
    if not (save or reference.exists()):
        return None
    gradients = {
        name: parameter.grad.clone()
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }
    if save:
        torch.save(gradients, reference)
        return None
    expected = torch.load(reference, weights_only=True)
    if expected.keys() != gradients.keys():
        raise ValueError("other parameters have gradients than in eager-f32")
    error = sum((gradients[name] - g).square().sum() for name, g in expected.items())
    return (error / sum(g.square().sum() for g in expected.values())).sqrt().item()


def measure(arguments):
    """Prepares, takes one step to warm up, times the others, and returns what to print."""
    setting = TRAINING[arguments.setting]
    (step, model), prepared = timed(lambda: prepare(arguments, setting))

    def first_of(loss):
        if arguments.reference is None:
            return loss, None
        save = arguments.setting == "eager-f32"
        return loss, distance_of_gradients(model, arguments.reference, save)

    (loss, distance), record = measured(step, arguments.runs, first_of)
    record |= {"prepare_seconds": prepared, "precision": setting.precision}
    return record | {"first_loss": loss, "gradient_distance": distance}


def main():
    """Measures one setting."""
    print(json.dumps(measure(set_up(__doc__, TRAINING))), flush=True)


if __name__ == "__main__":
    main()
