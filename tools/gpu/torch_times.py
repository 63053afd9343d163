"""Times the network, or its training, in PyTorch on a GPU: one JSON line for each setting.

Run by measure.sh, with tools/peer on the path. With --device cpu it runs where there is no GPU, to
try the script itself.
"""

import argparse
import json
import time

import torch

from presets import PRESETS
from vrt_torch import Block, Vrt, initialise

# Name: attention, autocast to bf16, products in TF32, compiled.
SETTINGS = {
    "eager-f32": ("eager", False, False, False),
    "eager-tf32": ("eager", False, True, False),
    "fused-tf32": ("fused", False, True, False),
    "eager-bf16": ("eager", True, True, False),
    "fused-bf16": ("fused", True, True, False),
    "compile-bf16": ("eager", True, True, True),
    "compile-fused-bf16": ("fused", True, True, True),
}


def synchronize(device):
    """Waits for all that was asked of the device."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def network(arguments, setting, device):
    """The network and a clip on the device."""
    attention, _, tf32, compiled = SETTINGS[setting]
    torch.backends.cuda.matmul.allow_tf32 = tf32
    torch.backends.cudnn.allow_tf32 = tf32
    config = PRESETS[arguments.preset]
    model = Vrt(config, attention).eval()
    initialise(model, 0)
    frames, height, width = arguments.size
    x = torch.rand(1, frames, config.input_channels, height, width)
    if compiled:
        torch._dynamo.config.recompile_limit = 256
        torch._dynamo.config.accumulated_recompile_limit = 256
        for module in model.modules():
            if isinstance(module, Block):
                module.compile(dynamic=False)
    return model.to(device), x.to(device)


def work(model, x, optimizer, autocast):
    """A pass whose output comes back to the host or, with an optimizer, a step of training."""
    if optimizer is None:
        with torch.no_grad(), autocast:
            model(x).float().cpu()
        return
    optimizer.zero_grad()
    with autocast:
        y = model(x)
    loss = ((y.float() - 0.5).square() + 1e-9).sqrt().mean()
    loss.backward()
    optimizer.step()
    loss.item()


def measure(arguments, setting, device):
    """Seconds of each pass behind two that are not timed, and the most memory."""
    model, x = network(arguments, setting, device)
    bf16 = SETTINGS[setting][1]
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = []
    optimizer = torch.optim.Adam(model.parameters(), 4e-4) if arguments.train else None
    for _ in range(arguments.runs + 2):
        synchronize(device)
        start = time.perf_counter()
        work(model, x, optimizer, torch.autocast(device.type, torch.bfloat16, enabled=bf16))
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_reserved() if device.type == "cuda" else None
    return {"setting": setting, "seconds": seconds[2:], "peak_bytes": peak}


def main():
    """Measures every setting; one that fails says why and the others go on."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--preset", choices=PRESETS, default="006")
    parser.add_argument("--size", nargs=3, type=int, default=(6, 64, 64))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--train", action="store_true", help="time steps, not passes")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    for setting in arguments.settings:
        try:
            record = measure(arguments, setting, device)
        except Exception as error:  # What a setting may fail with is the library's affair.
            record = {"setting": setting, "error": str(error).splitlines()[0]}
        print(json.dumps(record), flush=True)
        if device.type == "cuda":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
