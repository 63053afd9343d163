//! The section `val`: how the network is tried between steps.

use serde_json::{Value, json};
use vrt_model::tiled::TileSpec;

use super::section::Section;

/// Pixels that neighbouring tiles share, as published.
const OVERLAP: usize = 20;

/// How the network is tried between steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validation {
    /// Whether restored frames are kept.
    pub save_images: bool,
    /// Whether the last frame is repeated once in front of the network.
    pub repeat_last: bool,
    /// Whether the clip also runs backwards, and both results are averaged.
    pub flip: bool,
    /// Whether only the frame in the middle of a clip is scored.
    pub center_only: bool,
    /// Sizes of tiles, put together as published.
    pub tile: TileSpec,
}

pub(super) fn read(mut s: Section<'_>) -> Validation {
    let frames = s.or("num_frame_testing", 0);
    let overlap_frames = s.or("num_frame_overlapping", if frames > 2 { 2 } else { 0 });
    let size = s.or("size_patch_testing", 0);
    let validation = Validation {
        save_images: s.or("save_img", false),
        repeat_last: s.or("pad_seq", false),
        flip: s.or("flip_seq", false),
        center_only: s.or("center_frame_only", false),
        tile: tile(&mut s, [frames, size, overlap_frames]),
    };
    s.finish();
    validation
}

fn tile(s: &mut Section<'_>, [frames, size, overlap_frames]: [usize; 3]) -> TileSpec {
    if frames > 0 && overlap_frames >= frames {
        let what = format!(
            "is {overlap_frames}, but tiles have {frames} frames \
                            (val.num_frame_testing): write at most {}",
            frames - 1
        );
        s.problem("num_frame_overlapping", what);
    }
    if (1..=OVERLAP).contains(&size) {
        let what = format!(
            "is {size}, but tiles overlap by {OVERLAP} pixels: write more than \
                            that, or 0 for whole frames"
        );
        s.problem("size_patch_testing", what);
    }
    let overlap_frames = if frames == 0 { 0 } else { overlap_frames };
    let overlap_size = if size == 0 { 0 } else { OVERLAP };
    TileSpec::new(frames, size, overlap_frames, overlap_size).unwrap_or(TileSpec::WHOLE)
}

impl Validation {
    /// The section that [`read`] takes.
    pub(super) fn to_json(self) -> Value {
        json!({
            "save_img": self.save_images,
            "pad_seq": self.repeat_last,
            "flip_seq": self.flip,
            "center_frame_only": self.center_only,
            "num_frame_testing": self.tile.frames(),
            "num_frame_overlapping": self.tile.overlap_frames(),
            "size_patch_testing": self.tile.size(),
        })
    }
}
