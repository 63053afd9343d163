"""Times the network in PyTorch and OpenVINO, and this project's program in turn with them.

Prints one JSON line for each contender and then a table. Every setting runs in processes of its
own; only those import PyTorch. `train_step.py` does the same with training steps.
"""

import argparse
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from presets import PRESETS
from settings import SETTINGS

HERE = Path(__file__).resolve().parent
OURS = "ours"
DEFAULT_SETTINGS = "eager-f32,fused-f32,bf16-eager,bf16-fused,compile-f32,openvino-f32"
LIBRARIES = ("/usr/lib", "/usr/lib64", "/usr/local/lib")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
GIGABYTE = 1e9
QUIET = 0.5


class Benchmark(NamedTuple):
    """What is timed.

    `worker` is the script that times one of `settings`, `default` are the settings that run unless
    others are chosen, and `fidelity` is how results are compared with the first setting's: the
    title of the table's column, the key in a record and the format.
    """

    description: str
    worker: str
    settings: dict
    default: str
    fidelity: tuple


FORWARD = Benchmark(
    __doc__, "worker.py", SETTINGS, DEFAULT_SETTINGS, ("dB to eager f32", "psnr_db", ".1f")
)


class Failure(Exception):
    """A contender that did not run."""


def find_jemalloc(choice):
    """The library to preload: the one named, none for "none", or one found on the system."""
    if choice == "none":
        return None
    if choice:
        path = Path(choice)
        if not path.exists():
            sys.exit(f"{path}: no such library")
        return path
    for folder in LIBRARIES:
        for pattern in ("libjemalloc.so.2", "*/libjemalloc.so.2"):
            for path in Path(folder).glob(pattern):
                return path
    print("libjemalloc.so.2 not found: PyTorch runs slower without it", file=sys.stderr)
    return None


def last_json(text):
    """The last line of `text` that is a JSON object."""
    for line in reversed(text.splitlines()):
        if line.lstrip().startswith("{"):
            return json.loads(line)
    raise ValueError("no JSON line")


def output_of(command, limit, environment=None):
    """Runs a command, for `limit` seconds at most, and returns the JSON object that it prints."""
    options = {"text": True, "capture_output": True, "timeout": limit}
    try:
        done = subprocess.run(command, env=environment, **options)
    except OSError as error:
        raise Failure(str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise Failure(f"not done after {limit} s") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        raise Failure(f"exit status {done.returncode}: {lines[-1]}")
    try:
        return last_json(done.stdout)
    except ValueError as error:
        raise Failure(f"its output has no JSON line: {error}") from error


def run_peer(benchmark, setting, arguments, runs, reference):
    """One turn of a setting: a fresh process that warms up and times `runs` runs.

    OpenVINO brings an allocator of its own and crashes when another one is preloaded.
    """
    threads = str(arguments.threads)
    environment = dict(os.environ, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
    if arguments.preload and benchmark.settings[setting].engine != "openvino":
        environment["LD_PRELOAD"] = str(arguments.preload)
    command = [sys.executable, str(HERE / benchmark.worker), "--setting", setting]
    command += ["--preset", arguments.preset, "--size", *map(str, arguments.size)]
    command += ["--threads", threads, "--runs", str(runs), "--seed", str(arguments.seed)]
    return output_of([*command, "--reference", str(reference)], arguments.limit, environment)


def run_ours(name, arguments, runs):
    """One turn of a program: its command with the placeholders filled in."""
    values = {
        "preset": arguments.preset,
        "size": "x".join(map(str, arguments.size)),
        "threads": arguments.threads,
        "runs": runs,
    }
    words = shlex.split(arguments.ours[name])
    for key, value in values.items():
        words = [word.replace("{" + key + "}", str(value)) for word in words]
    record = output_of(words, arguments.limit)
    if "seconds" not in record:
        raise Failure("its JSON line has no `seconds`")
    if not isinstance(record["seconds"], list):
        record["seconds"] = [record["seconds"]]
    return record


def run_turn(benchmark, name, arguments, runs, reference):
    """One turn of any contender."""
    if name in arguments.ours:
        return run_ours(name, arguments, runs)
    return run_peer(benchmark, name, arguments, runs, reference)


def merged(turns):
    """The record of all turns of a contender: all their seconds, their largest peaks."""
    record = dict(turns[0])
    record["seconds"] = [second for turn in turns for second in turn["seconds"]]
    for key in ("peak_bytes", "peak_of_runs_bytes"):
        peaks = [turn[key] for turn in turns if turn.get(key) is not None]
        record[key] = max(peaks, default=None)
    return record


def summary(name, turns, arguments):
    """What is printed for a contender."""
    record = merged(turns)
    seconds = record.pop("seconds")
    return {
        "setting": name,
        "preset": arguments.preset,
        "size": "x".join(map(str, arguments.size)),
        "threads": arguments.threads,
        "median": statistics.median(seconds),
        "fastest": min(seconds),
        "slowest": max(seconds),
        "seconds": seconds,
        **record,
    }


def take_turns(benchmark, arguments, names, reference):
    """Runs all contenders, one after the other, as often as there are rounds."""
    turns = {name: [] for name in names}
    failures = {}
    share, rest = divmod(arguments.runs, arguments.rounds)
    for turn in range(arguments.rounds):
        runs = share + (turn < rest)
        for name in names:
            if name in failures:
                continue
            print(f"round {turn + 1} of {arguments.rounds}: {name}", file=sys.stderr)
            try:
                turns[name].append(run_turn(benchmark, name, arguments, runs, reference))
            except Failure as failure:
                failures[name] = str(failure)
    return turns, failures


def processor():
    """The processor's name and the vector extensions it has."""
    fields = {}
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            fields.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    flags = fields.get("flags", "").split()
    numbers = f"family {fields.get('cpu family')}, model {fields.get('model')}"
    features = " ".join(feature for feature in FEATURES if feature in flags)
    name = fields.get("model name", platform.machine())
    return f"{name} ({numbers}; {features}), {os.cpu_count()} cores"


def commit():
    """The commit of this working tree, and whether files differ from it."""

    def git(*words):
        command = ["git", "-C", str(HERE), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        head = git("rev-parse", "--short", "HEAD")
        return head + (" with local changes" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def amount(value, unit=1.0, form=".2f"):
    """A number for the table, or a dash."""
    return "–" if value is None else format(value / unit, form)


def table(records, failures, fidelity):
    """The results in Markdown; ratios are to the first program, or else to the first setting."""
    base = next((r for r in records if r["setting"].startswith(OURS)), records[0])
    name = base["setting"]
    columns = ["", "median s", "fastest–slowest", "runs", f"times {name}"]
    title, key, form = fidelity
    columns += ["peak GB (runs only)", title]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for r in records:
        span = f"{r['fastest']:.2f}–{r['slowest']:.2f}"
        peaks = f"{amount(r['peak_bytes'], GIGABYTE)} ({amount(r['peak_of_runs_bytes'], GIGABYTE)})"
        ratio = amount(r["median"], base["median"])
        lines.append(
            f"| {r['setting']} | {r['median']:.2f} | {span} | {len(r['seconds'])} | {ratio} "
            f"| {peaks} | {amount(r.get(key), form=form)} |"
        )
    lines += [f"| {name} | failed: {reason} | | | | | |" for name, reason in failures.items()]
    return "\n".join(lines)


def about_peers(records):
    """Lines on the packages, allocators and kernels that the peers used."""
    known = [record for record in records if "allocator" in record]
    if not known:
        return []
    named = ", ".join(f"{name} {value}" for name, value in known[0]["versions"].items() if value)
    allocators = ", ".join(sorted({record["allocator"] for record in known}))
    bf16 = "has" if known[0]["bf16_kernels"] else "lacks"
    return [
        f"Versions: {named}; allocator of the peers: {allocators}.",
        f"PyTorch {bf16} fast bf16 kernels for this processor.",
    ]


def origin(records, load):
    """Where the numbers come from: machine, load, commit, versions, command."""
    lines = [f"Machine: {processor()}; load before: {load[0]:.2f}.", f"Commit: {commit()}."]
    lines += [*about_peers(records), f"Command: {shlex.join(['python', *sys.argv])}"]
    return "\n".join(lines)


def size(text):
    """Frames, height and width from a text such as 6x64x64."""
    parts = [int(part) for part in text.split("x")]
    if len(parts) != 3 or min(parts) < 1:
        raise ValueError(text)
    return parts


def names_in(text, known):
    """Settings from a list with commas; all of them must be known."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        choice = ", ".join(known)
        raise argparse.ArgumentTypeError(f"unknown setting {', '.join(unknown)}; known: {choice}")
    return names


def program(text):
    """A name and a command from a text such as ours-bf16=PROGRAM --bf16."""
    name, equals, command = text.partition("=")
    if not equals or not name.startswith(OURS) or " " in name:
        return OURS, text
    return name, command


def parse_arguments(benchmark):
    """The command line."""
    parser = argparse.ArgumentParser(description=benchmark.description)

    def settings(text):
        return names_in(text, benchmark.settings)

    parser.add_argument("--preset", choices=PRESETS, default="006")
    parser.add_argument("--size", type=size, default="6x64x64", help="frames x height x width")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each contender")
    parser.add_argument("--rounds", type=int, help="turns that share the runs; as many with --ours")
    parser.add_argument("--settings", type=settings, default=benchmark.default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, help="seconds after which a turn has failed")
    parser.add_argument("--jemalloc", help="the library to preload, or none")
    form = "a command with {preset} {size} {threads} {runs}, or ours-NAME=COMMAND"
    parser.add_argument("--ours", help=form, type=program, action="append", default=[])
    arguments = parser.parse_args()
    arguments.ours = dict(arguments.ours)
    if arguments.rounds is None:
        arguments.rounds = arguments.runs if arguments.ours else 1
    if not 1 <= arguments.rounds <= arguments.runs:
        parser.error("--rounds must be between 1 and --runs")
    arguments.preload = find_jemalloc(arguments.jemalloc)
    return arguments


def main(benchmark=FORWARD):
    """Runs a benchmark; exit 1 if a contender failed."""
    arguments = parse_arguments(benchmark)
    load = os.getloadavg()
    if load[0] > QUIET:
        print(f"the machine is busy (load {load[0]:.2f}): times will be too long", file=sys.stderr)
    names = [*arguments.settings, *arguments.ours]
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "reference.pt"
        turns, failures = take_turns(benchmark, arguments, names, reference)
    done = [name for name in names if name not in failures]
    records = [summary(name, turns[name], arguments) for name in done]
    for record in records:
        print(json.dumps(record))
    for name, reason in failures.items():
        print(json.dumps({"setting": name, "error": reason}))
    if records:
        print(f"\n{table(records, failures, benchmark.fidelity)}\n\n{origin(records, load)}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
