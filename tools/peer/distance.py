"""How far bf16 is from f32, here and in PyTorch, on the same weights and the same clip.

    python tools/peer/distance.py --preset 006 --size 6x64x64 --ours "$ANSWER"

Weights are those that training starts from, whose last offset layers are zero; --offsets draws these,
too. ANSWER is a command with {preset}, {tensors} and {output}, as the README has it; it is run as it is and
with --bf16 behind it. Distances are those to PyTorch's f32: in dB for a peak of one, and in percent of
what the network adds to its (enlarged) input.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from bench import size
from presets import PRESETS
from vrt_torch import DeformableAlignment, Vrt, initialise


def parse_arguments():
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    # The network that interpolates adds to a mean of frames, not to its input.
    presets = [name for name, config in PRESETS.items() if config.reach]
    parser.add_argument("--preset", choices=presets, default="006")
    parser.add_argument("--offsets", action="store_true", help="draw the last offset layers, too")
    parser.add_argument("--size", type=size, default="6x64x64", metavar="DxHxW")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ours", required=True)
    return parser.parse_args()


def draw_offsets(model):
    """Weights for the layers that training starts with zeros in."""
    for module in model.modules():
        if isinstance(module, DeformableAlignment):
            module.conv_offset[-1].reset_parameters()


def enlarged(x, upscale):
    """The clip, as large as the network's answer."""
    frames = torch.nn.functional.interpolate(
        x[0], scale_factor=upscale, mode="bilinear", align_corners=False
    )
    return frames[None]


def of_program(command, arguments, tensors, shape):
    """What a command writes."""
    output = tensors.with_name("out.f32")
    filled = command.format(preset=arguments.preset, tensors=tensors, output=output)
    subprocess.run(shlex.split(filled), check=True)
    return torch.from_numpy(np.fromfile(output, "<f4")).reshape(shape)


def answers(arguments, model, x):
    """Answers by name, PyTorch's f32 first."""
    yield "PyTorch f32", model(x)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = model(x).float()
    yield "PyTorch bf16 autocast", rounded
    with tempfile.TemporaryDirectory() as folder:
        tensors = Path(folder) / "in.safetensors"
        state = {name: value.contiguous() for name, value in model.named_parameters()}
        save_file(state | {"x": x}, tensors)
        for name, more in ("this program f32", ""), ("this program bf16", " --bf16"):
            yield name, of_program(arguments.ours + more, arguments, tensors, rounded.shape)


def main():
    """Prints a table."""
    torch.set_flush_denormal(True)
    arguments = parse_arguments()
    config = PRESETS[arguments.preset]
    model = Vrt(config).eval()
    initialise(model, arguments.seed)
    if arguments.offsets:
        draw_offsets(model)
    frames, height, width = arguments.size
    generator = torch.Generator().manual_seed(arguments.seed)
    x = torch.rand(1, frames, config.input_channels, height, width, generator=generator)
    exact = None
    print("| | of what is added | dB |\n|---|---|---|")
    with torch.no_grad():
        for name, answer in answers(arguments, model, x):
            if exact is None:
                exact = answer
                added = (exact - enlarged(x[:, :, :3], config.upscale)).norm()
                spread = added / exact.numel() ** 0.5
                print(f"| what is added, root mean square | {spread:.4f} | |")
                continue
            error = (answer - exact).norm()
            decibels = -20 * torch.log10(error / exact.numel() ** 0.5)
            print(f"| {name} | {100 * error / added:.4f} % | {decibels:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
