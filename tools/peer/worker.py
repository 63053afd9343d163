"""Times one way of running the network in this process and prints one JSON line; see bench.py."""

import argparse
import json
import platform
import resource
import time
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from presets import PRESETS
from settings import SETTINGS
from vrt_torch import Block, Vrt, initialise

PACKAGES = ("torch", "torchvision", "numpy", "openvino")
RECOMPILATIONS = 256


def run_eager(setting, model, x):
    """A function that runs the network in PyTorch, its blocks compiled if the setting says so."""
    if setting.engine == "compile":
        torch._dynamo.config.recompile_limit = RECOMPILATIONS
        torch._dynamo.config.accumulated_recompile_limit = RECOMPILATIONS
        for module in model.modules():
            if isinstance(module, Block):
                module.compile(dynamic=False)
    bf16 = setting.precision == "bf16"

    def run():
        with torch.autocast("cpu", torch.bfloat16) if bf16 else nullcontext():
            return model(x).float()

    return run, setting.precision


def run_openvino(setting, model, x, threads):
    """A function that runs the network converted to OpenVINO with static shapes."""
    import openvino

    properties = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": setting.precision,
        "CPU_DENORMALS_OPTIMIZATION": True,
    }
    converted = openvino.convert_model(model, example_input=x, input=list(x.shape))
    compiled = openvino.Core().compile_model(converted, "CPU", properties)
    request = compiled.create_infer_request()
    used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
    array = x.numpy()
    return lambda: torch.from_numpy(request.infer([array])[0].copy()), used


def resident_peak():
    """The largest resident memory of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak():
    """Starts the peak anew from what is resident now; Linux only."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def allocator():
    """The allocator in this process, as its mapped libraries tell."""
    maps = Path("/proc/self/maps")
    text = maps.read_text() if maps.exists() else ""
    return "jemalloc" if "libjemalloc" in text else "system"


def versions():
    """Versions of Python and of the packages that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def timed(run):
    """The result of `run` and the seconds it took."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def psnr_against(reference, output, save):
    """Decibels between two outputs; `None` where this one is stored as the reference."""
    if save:
        torch.save(output, reference)
    if save or not reference.exists():
        return None
    expected = torch.load(reference, weights_only=True)
    error = (output - expected).square().mean().item()
    return round(-10 * torch.tensor(error).log10().item(), 1) if error else None


def prepare(arguments, setting):
    """The function to time and the precision it computes in."""
    config = PRESETS[arguments.preset]
    model = Vrt(config, setting.attention).eval()
    initialise(model, arguments.seed)
    frames, height, width = arguments.size
    generator = torch.Generator().manual_seed(arguments.seed)
    x = torch.rand(1, frames, config.input_channels, height, width, generator=generator)
    if setting.engine == "openvino":
        return run_openvino(setting, model, x, arguments.threads)
    return run_eager(setting, model, x)


def measured(run, runs, keep):
    """Warms up once and times the runs; what `keep` makes of the first result, and the record."""
    output, first = timed(run)
    kept = keep(output)
    peak = resident_peak()
    separate = forget_peak()
    seconds = [timed(run)[1] for _ in range(runs)]
    peak_of_runs = resident_peak()
    return kept, {
        "seconds": seconds,
        "first_seconds": first,
        "peak_bytes": max(peak, peak_of_runs),
        "peak_of_runs_bytes": peak_of_runs if separate else None,
        "allocator": allocator(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "bf16_kernels": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
        "versions": versions(),
    }


def measure(arguments):
    """Prepares, warms up once, times the runs, and returns what to print."""
    setting = SETTINGS[arguments.setting]
    (run, precision), prepared = timed(lambda: prepare(arguments, setting))
    output, record = measured(run, arguments.runs, keep=lambda output: output)
    record |= {"prepare_seconds": prepared, "precision": precision}
    if arguments.reference:
        save = arguments.setting == "eager-f32"
        record["psnr_db"] = psnr_against(arguments.reference, output, save)
    return record


def parse_arguments(description, settings):
    """The command line, as bench.py writes it."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--setting", choices=settings, required=True)
    parser.add_argument("--preset", choices=PRESETS, required=True)
    parser.add_argument("--size", nargs=3, type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--runs", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reference", type=Path)
    return parser.parse_args()


def set_up(description, settings):
    """The command line; threads are set before any tensor exists, so that all flush denormals."""
    torch.set_flush_denormal(True)
    arguments = parse_arguments(description, settings)
    torch.set_num_threads(arguments.threads)
    return arguments


def main():
    """Measures one setting."""
    arguments = set_up(__doc__, SETTINGS)
    with torch.no_grad():
        print(json.dumps(measure(arguments)), flush=True)


if __name__ == "__main__":
    main()
