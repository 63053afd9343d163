#!/usr/bin/env bash
# A GPU for machines without one: Mesa's llvmpipe, which the processor plays, of Debian's next
# release. It multiplies 16-bit matrices and runs Burn's shaders for Vulkan, which that of Debian 12
# and 13 does not.
#
#   tools/gpu/mesa.sh install DIR             fetches it into DIR (as root, with debootstrap)
#   tools/gpu/mesa.sh run DIR PROGRAM [ARG …] runs a program on it, no other GPU in sight; a program
#                                             that it starts in turn does not run there
#
# Cargo starts all programs and tests that way with
#   export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="$PWD/tools/gpu/mesa.sh run DIR"
set -euo pipefail

usage() {
    sed -n '2,12s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ $# -ge 2 ] || usage
what=$1 root=$2
shift 2
libraries=$root/usr/lib/$(uname -m)-linux-gnu

case $what in
install)
    [ ! -e "$root" ] || { echo "$root is there already" >&2 && exit 1; }
    debootstrap --variant=minbase --include=libvulkan1,mesa-vulkan-drivers testing "$root.partial"
    mv "$root.partial" "$root"
    [ -e "$libraries/libvulkan_lvp.so" ]
    ;;
run)
    [ $# -ge 1 ] || usage
    driver=$(mktemp --suffix=.json)
    trap 'rm -f "$driver"' EXIT
    cat "$root"/usr/share/vulkan/icd.d/lvp_icd*.json |
        sed "s#\"library_path\": *\"[^\"]*\"#\"library_path\": \"$libraries/libvulkan_lvp.so\"#" \
            >"$driver"
    loader=$(compgen -G "$libraries/ld-linux*" | head -n 1)
    # The driver's own C library comes first, and this machine's libraries for what it lacks.
    VK_DRIVER_FILES=$driver VK_ICD_FILENAMES=$driver \
        "$loader" --library-path "$libraries:/usr/lib/$(uname -m)-linux-gnu" "$@"
    ;;
*) usage ;;
esac
