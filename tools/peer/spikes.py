"""Pictures of a spike stream with NumPy, at the sizes of `cargo bench -p vrt-spike`.

    python tools/peer/spikes.py

A second of a camera of 400x250 at 20 kHz (rows are stored 416 wide), from memory: unpacked bit by
bit, and summed in parts of 200 frames, which is the fastest way found.
"""

import time

import numpy as np

FRAMES, ROWS, STORED, WIDTH = 20_000, 250, 416, 400
RUNS, PART = 3, 200


def mean(stream):
    sums = np.zeros(ROWS * STORED, np.int64)
    for first in range(0, len(stream), PART):
        bits = np.unpackbits(stream[first : first + PART], axis=1, bitorder="little")
        sums += bits.sum(0, dtype=np.int32)
    picture = sums.reshape(ROWS, STORED)[::-1, :WIDTH] * (2.0 / len(stream))
    return np.minimum(picture, 1).astype(np.float32)


def timed(run, *arguments):
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run(*arguments)
        seconds.append(time.perf_counter() - start)
    return sorted(seconds)[RUNS // 2]


def main():
    stream = np.random.default_rng(0).integers(0, 256, (FRAMES, ROWS * STORED // 8), np.uint8)
    print(f"NumPy {np.__version__}")
    for name, part in [("mean", stream), ("tfp of 41 frames", stream[:41].copy())]:
        seconds = timed(mean, part)
        print(f"{name}: {1e3 * seconds:.2f} ms, {part.nbytes / seconds / 1e9:.2f} GB/s")


if __name__ == "__main__":
    main()
