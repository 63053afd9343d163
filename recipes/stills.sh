#!/usr/bin/env bash
# Fills FOLDER with the photographs of stills.tsv, from Debian's packages, and checks every file.
# Usage: bash stills.sh FOLDER
# Needs Debian or a relative of it with apt, dpkg and djxl (apt-get install libjxl-tools), and about
# 0.7 GB of downloads. Installs nothing, and leaves the system's lists of packages alone.
set -euo pipefail
folder=${1:?usage: bash stills.sh FOLDER}
table=$(cd "$(dirname "$0")" && pwd)/stills.tsv
command -v djxl >/dev/null || { echo 'djxl is missing: apt-get install libjxl-tools' >&2; exit 1; }
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(SITE)' | grep -v security | head -n 1)}
[ -n "$mirror" ] || { echo 'no mirror is known: set DEBIAN_MIRROR' >&2; exit 1; }
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

rows() { grep -v '^#' "$table"; }

# Of one suite alone: apt's answer must not depend on what else this system knows.
apt_of() {
    local state=$work/$1
    shift
    apt-get -qq -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$state/lists" -o Dir::Cache="$state/cache" \
        -o Acquire::Languages=none -o APT::Sandbox::User=root -o Acquire::Retries=3 "$@"
}

rows | cut -f2 | sort -u | while read -r suite; do
    mkdir -p "$work/$suite/lists/partial" "$work/$suite/cache/archives/partial"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" \
        >"$work/$suite/sources.list"
    apt_of "$suite" update
done

rows | cut -f2-5 | sort -u | while IFS=$'\t' read -r suite package version sum; do
    into=$work/package
    rm -rf "$into"
    mkdir "$into"
    (cd "$into" && apt_of "$suite" download "$package=$version")
    archive=$(ls "$into"/*.deb)
    echo "$sum  $archive" | sha256sum -c --quiet -
    dpkg-deb -x "$archive" "$into/files"
    rows | while IFS=$'\t' read -r name of_suite of _ _ path source_sum _; do
        [ "$of_suite $of" = "$suite $package" ] || continue
        source=$into/files/$path
        echo "$source_sum  $source" | sha256sum -c --quiet -
        case $path in
            *.jxl) djxl "$source" "$folder/$name" >/dev/null 2>&1 ;;
            *) install -m 644 "$source" "$folder/$name" ;;
        esac
    done
done

# Decoders of JPEG XL may differ by a rounding; their sources were checked above.
cd "$folder"
rows | while IFS=$'\t' read -r name _ _ _ _ path _ sum _; do
    echo "$sum  $name" | sha256sum -c --status - && continue
    case $path in
        *.jxl) echo "note: $name is decoded a little differently here" >&2 ;;
        *) echo "$name is not the file it should be" >&2; exit 1 ;;
    esac
done
echo "$(rows | wc -l) photographs in $folder"
