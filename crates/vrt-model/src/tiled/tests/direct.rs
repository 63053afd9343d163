//! The published rule on a whole clip, to hold the streaming form against.

use super::stand::Stand;
use crate::tiled::{ClipModel, TileSpec};
use crate::volume::Volume;

/// Every step from 0 that stays below the last start, and the last start.
fn starts_of(len: usize, tile: usize, overlap: usize) -> Vec<usize> {
    let last = len.saturating_sub(tile);
    let mut starts = Vec::new();
    let mut start = 0;
    while start < last {
        starts.push(start);
        start += tile - overlap;
    }
    starts.push(last);
    starts
}

/// The published rule over a whole clip in memory, written as the definition reads.
pub(super) fn published_directly(model: &Stand, clip: &Volume, spec: &TileSpec) -> Volume {
    let [frames, height, width, channels] = clip.dims();
    let scale = model.scale;
    let tile = if spec.frames() == 0 { frames } else { spec.frames().min(frames) };
    let starts = if spec.frames() == 0 {
        vec![0]
    } else {
        starts_of(frames, spec.frames(), spec.overlap_frames())
    };
    let dims = [frames, height * scale, width * scale, channels];
    let mut sum = Volume::filled(dims, 0.0).unwrap();
    let mut count = vec![0.0_f32; frames];
    for start in starts {
        let mut window = clip.crop(start..start + tile, 0..height, 0..width);
        if spec.frames() == 0 {
            let pad = (model.window[0] - frames % model.window[0]) % model.window[0];
            window = window.mirror_end([pad, 0, 0]).unwrap();
        }
        let restored = published_space(model, &window, spec);
        let frame_len = sum.frame(0).len();
        let frames = sum.samples_mut().chunks_exact_mut(frame_len).zip(&mut count);
        for ((out, count), restored) in frames.skip(start).take(tile).zip(restored.iter_frames()) {
            out.iter_mut().zip(restored).for_each(|(out, sample)| *out += sample);
            *count += 1.0;
        }
    }
    let frame_len = sum.frame(0).len();
    let samples = sum.samples_mut().iter_mut().enumerate();
    samples.for_each(|(i, sum)| *sum /= count[i / frame_len]);
    sum
}

fn published_space(model: &Stand, clip: &Volume, spec: &TileSpec) -> Volume {
    let [frames, height, width, channels] = clip.dims();
    let scale = model.scale;
    let (out_height, out_width) = (height * scale, width * scale);
    if spec.size() == 0 {
        let pad = |len: usize, window: usize| (window - len % window) % window;
        let pads = [0, pad(height, model.window[1]), pad(width, model.window[2])];
        let padded = clip.clone().mirror_end(pads).unwrap();
        let restored = model.restore(padded).unwrap();
        return restored.crop(0..restored.frames(), 0..out_height, 0..out_width);
    }
    let rows = starts_of(height, spec.size(), spec.overlap_size());
    let columns = starts_of(width, spec.size(), spec.overlap_size());
    let mut sum = vec![0.0_f32; frames * out_height * out_width * channels];
    let mut count = sum.clone();
    let dropped = spec.overlap_size() / 2;
    for &top in &rows {
        for &left in &columns {
            let bottom = height.min(top + spec.size());
            let right = width.min(left + spec.size());
            let tile = model.restore(clip.crop(0..frames, top..bottom, left..right)).unwrap();
            let [_, tile_height, tile_width, _] = tile.dims();
            for (i, sample) in tile.samples().iter().enumerate() {
                let (channel, pixel) = (i % channels, i / channels);
                let (x, y) = (pixel % tile_width, pixel / tile_width % tile_height);
                let frame = pixel / tile_width / tile_height;
                let is_dropped = top != 0 && y < dropped
                    || left != 0 && x < dropped
                    || Some(&top) != rows.last() && y >= tile_height - dropped
                    || Some(&left) != columns.last() && x >= tile_width - dropped;
                if !is_dropped {
                    let row = frame * out_height + top * scale + y;
                    let at = (row * out_width + left * scale + x) * channels + channel;
                    sum[at] += sample;
                    count[at] += 1.0;
                }
            }
        }
    }
    let mean = sum.iter().zip(&count).map(|(sum, count)| sum / count).collect();
    Volume::new([frames, out_height, out_width, channels], mean).unwrap()
}
