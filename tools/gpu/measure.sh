#!/usr/bin/env bash
# On a machine with a GPU: checks every kernel and every golden tensor on it, then times networks
# beside PyTorch in the same run.
#
#   bash tools/gpu/measure.sh [cuda|vulkan|metal|rocm|wgpu] [PYTHON]
#
# PYTHON has PyTorch with support for the GPU; without it, only this program is timed.
set -euo pipefail
cd "$(dirname "$0")/../.."

kind=${1:-cuda}
python=${2:-}

echo "== machine"
uname -sr
if command -v nvidia-smi >/dev/null; then
    nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader
fi
git log -1 --format="commit %h"

# Tests of GPUs pass where there is none, unless this is set.
export VRT_NEEDS_GPU=1

echo "== build"
cargo build --release --workspace --features "vrt/$kind" --bin vrt --example forward
target/release/vrt doctor --device "$kind"

echo "== check: kernels against those of processors, golden tensors with gradients"
cargo test --release --workspace --lib --features "vrt/$kind" -- gpu:: golden::

echo "== time"
for case in "006 6 64 64" "006 6 192 192" "006 6 256 256" "001 6 64 64" "001 16 64 64"; do
    read -r preset frames height width <<<"$case"
    echo "-- $preset at ${frames}x${height}x${width}"
    target/release/examples/forward --gpu 0 --preset "$preset" \
        --size "${frames}x${height}x${width}" --runs 5 || true
    echo
    if [ -n "$python" ]; then
        PYTHONPATH=tools/peer "$python" tools/gpu/torch_times.py --preset "$preset" \
            --size "$frames" "$height" "$width" --runs 5
    fi
done
