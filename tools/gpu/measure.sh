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
cargo build --release --workspace --features "vrt/$kind" --bin vrt --example forward \
    --example train_step
report=$(target/release/vrt doctor --device "$kind")
echo "$report"

echo "== check: kernels against those of processors, golden tensors with gradients"
cargo test --release --workspace --lib --features "vrt/$kind" -- gpu:: golden::
echo "== check: eight steps of training beside golden ones"
cargo test --release --workspace --features "vrt/$kind" --test train -- --ignored on_a_gpu

# What the GPU multiplies beside f32.
halves=$(grep -o "multiplies in .*" <<<"$report" | head -n 1 | grep -oE "bf16|\bf16" || true)

echo "== time: restoring"
for case in "006 6 64 64" "006 6 192 192" "006 6 256 256" "001 6 64 64" "001 16 64 64"; do
    read -r preset frames height width <<<"$case"
    for precision in f32 $halves; do
        flag=""
        [ "$precision" = f32 ] || flag=--$precision
        echo "-- $preset at ${frames}x${height}x${width} in $precision"
        target/release/examples/forward --gpu 0 --preset "$preset" \
            --size "${frames}x${height}x${width}" --runs 5 $flag || echo "it failed"
        echo
    done
    if [ -n "$python" ]; then
        PYTHONPATH=tools/peer "$python" tools/gpu/torch_times.py --preset "$preset" \
            --size "$frames" "$height" "$width" --runs 5
    fi
done

echo "== time: a step of training"
for flag in "" $(case $halves in *bf16*) echo --bf16 ;; esac); do
    echo "-- 006 at 6x64x64 ${flag:---f32}"
    target/release/examples/train_step --gpu 0 --preset 006 --size 6x64x64 --runs 5 $flag || echo "it failed"
    echo
done
if [ -n "$python" ]; then
    PYTHONPATH=tools/peer "$python" tools/gpu/torch_times.py --preset 006 --size 6 64 64 \
        --runs 5 --train --settings eager-f32 eager-tf32 eager-bf16
fi

if command -v ffmpeg >/dev/null; then
    echo "== time: a clip of 1280x720 from end to end, in the built-in network"
    folder=$(mktemp -d)
    trap 'rm -rf "$folder"' EXIT
    ffmpeg -v error -f lavfi -i testsrc2=size=1280x720:rate=24 -frames:v 48 "$folder/clip.mp4"
    target/release/vrt restore "$folder/clip.mp4" --device "$kind" --output "$folder/restored.mp4"
fi
