//! What a training set is, and where.

use std::path::PathBuf;

use super::{DataError, HeldOut, SpikeTree};

/// Frames of a Vimeo-90K sequence, `im1` … `im7`.
pub(super) const VIMEO_FRAMES: usize = 7;

/// The largest crop that is taken, in pixels of a side: a sample of 16 such frames is 12 GiB.
const MAX_CROP: usize = 1 << 13;

/// The most frames of a sample.
const MAX_FRAMES: usize = 1 << 12;

/// What a training set does to clips.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum SetKind {
    /// Clips of any length, a sample for each frame that one can begin at.
    Recurrent,
    /// Sequences of seven frames, `im1` … `im7`; fewer than seven are taken from the middle.
    Vimeo,
    /// Vimeo sequences whose middle frame is to be made from frames around it.
    Interpolation,
    /// As [`Recurrent`](Self::Recurrent), from sharp frames alone: the degraded ones are these with
    /// Gaussian noise, not clipped, and a fourth channel that holds its deviation.
    Denoising {
        /// Least and greatest standard deviation, of 255; drawn uniformly for every sample.
        sigma: [f32; 2],
    },
}

impl SetKind {
    /// Whether clips are Vimeo sequences.
    pub(super) fn is_vimeo(self) -> bool {
        matches!(self, Self::Vimeo | Self::Interpolation)
    }
}

/// What frames are kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Files, `root/clip/frame.png`.
    Disk,
    /// Values of an LMDB environment, under keys `clip/frame`.
    Lmdb,
}

/// A tree of frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameRoot {
    /// The folder.
    pub path: PathBuf,
    /// What it is.
    pub backend: Backend,
}

/// What a training set is made of; the names in brackets are those of option files.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingSetOptions {
    /// What is done to clips (`dataset_type`).
    pub kind: SetKind,
    /// Frames as they should be (`dataroot_gt`).
    pub sharp: FrameRoot,
    /// Frames as the network gets them (`dataroot_lq`). Not read for denoising.
    pub degraded: FrameRoot,
    /// Spikes beside degraded frames.
    pub spikes: Option<SpikeTree>,
    /// The clip list (`meta_info_file`).
    pub meta_info: PathBuf,
    /// Digits of frame names where the list does not show them (`filename_tmpl`, 8 for `08d`).
    pub digits: usize,
    /// Extension of frame files, without a dot (`filename_ext`). Not used for LMDB.
    pub extension: String,
    /// Frames of a sample (`num_frame`), before [`mirror`](Self::mirror) and
    /// [`repeat_last`](Self::repeat_last).
    pub frames: usize,
    /// Rows and columns that are cut out of sharp frames (`gt_size`).
    pub crop: usize,
    /// Size of sharp frames by that of degraded ones (`scale`).
    pub scale: usize,
    /// Steps from a frame to the next, one of which is drawn for every sample (`interval_list`).
    /// Vimeo sets have no use for it.
    pub intervals: Vec<usize>,
    /// Half of the samples run backwards (`random_reverse`).
    pub random_reverse: bool,
    /// Half of the samples are mirrored left to right (`use_hflip`).
    pub flip: bool,
    /// Half of the samples are mirrored top to bottom, and half are transposed (`use_rot`).
    pub rotate: bool,
    /// REDS clips that are kept out of training (`val_partition`).
    pub held_out: HeldOut,
    /// The clip is followed by itself backwards: twice the frames (`mirror_sequence`).
    pub mirror: bool,
    /// The last frame comes twice: one frame more (`pad_sequence`).
    pub repeat_last: bool,
    /// Brightness, contrast, saturation and hue change a little, alike in all frames of a sample
    /// (`color_jitter`).
    pub color_jitter: bool,
    /// Steps between the frames of a Vimeo sequence that are taken (`temporal_scale`).
    pub temporal_scale: usize,
}

impl TrainingSetOptions {
    /// Frames of a sample: degraded ones, and sharp ones.
    ///
    /// Holds for options that a [`TrainingSet`](super::TrainingSet) was opened with.
    pub fn frames_out(&self) -> (usize, usize) {
        let taken = match self.kind {
            SetKind::Recurrent | SetKind::Denoising { .. } => self.frames,
            SetKind::Vimeo | SetKind::Interpolation => {
                self.frames.div_ceil(self.temporal_scale.max(1))
            }
        };
        let drawn = match (self.mirror, self.repeat_last) {
            (true, _) => 2 * taken,
            (_, true) => taken + 1,
            _ => taken,
        };
        if self.kind == SetKind::Interpolation { (taken, 1) } else { (drawn, drawn) }
    }

    /// # Errors
    ///
    /// Names the first option whose value cannot be.
    pub(super) fn check(&self) -> Result<(), DataError> {
        self.check_sizes()?;
        self.check_frames()?;
        self.check_spikes()?;
        if let SetKind::Denoising { sigma: [least, greatest] } = self.kind {
            let fine = least >= 0.0 && greatest >= least && greatest.is_finite();
            require(fine, "sigma_min and sigma_max", &format!("{least} and {greatest}"), || {
                "deviations run from a smaller to a greater number, of 255".to_owned()
            })?;
        }
        Ok(())
    }

    fn check_spikes(&self) -> Result<(), DataError> {
        let Some(spikes) = &self.spikes else { return Ok(()) };
        let path = spikes.root.display().to_string();
        require(self.kind == SetKind::Recurrent, "dataroot_spike", &path, || {
            "only recurrent sets have spikes beside their frames; leave it out".to_owned()
        })?;
        require(spikes.channels > 0, "in_chans", &3, || {
            "the network takes no spikes; leave dataroot_spike out".to_owned()
        })
    }

    fn check_sizes(&self) -> Result<(), DataError> {
        let (crop, scale) = (self.crop, self.scale);
        require((1..=16).contains(&scale), "scale", &scale, || "1 to 16 are taken".to_owned())?;
        require((1..=MAX_CROP).contains(&crop), "gt_size", &crop, || {
            format!("1 to {MAX_CROP} pixels can be cut out")
        })?;
        require(crop.is_multiple_of(scale), "gt_size", &crop, || {
            format!("a scale of {scale} divides only multiples of {scale}")
        })?;
        let alone = matches!(self.kind, SetKind::Interpolation | SetKind::Denoising { .. });
        require(scale == 1 || !alone, "scale", &scale, || {
            "interpolation and denoising leave the size as it is; set it to 1".to_owned()
        })?;
        let digits = self.digits;
        require((1..=19).contains(&digits), "filename_tmpl", &digits, || {
            "names have 1 to 19 digits".to_owned()
        })?;
        let plain = !self.extension.is_empty()
            && self.extension.chars().all(|letter| letter.is_ascii_alphanumeric());
        require(plain, "filename_ext", &format!("{:?}", self.extension), || {
            "an extension is letters without a dot, for example \"png\"".to_owned()
        })
    }

    fn check_frames(&self) -> Result<(), DataError> {
        let (frames, scale) = (self.frames, self.temporal_scale);
        require((1..=MAX_FRAMES).contains(&frames), "num_frame", &frames, || {
            format!("1 to {MAX_FRAMES} frames make a sample")
        })?;
        let steps = &self.intervals;
        let fine = !steps.is_empty() && steps.iter().all(|step| (1..=MAX_FRAMES).contains(step));
        require(fine, "interval_list", &format!("{steps:?}"), || {
            format!("it states one or more steps of 1 to {MAX_FRAMES} frames")
        })?;
        require(scale > 0, "temporal_scale", &scale, || "the least is 1".to_owned())?;
        require(!(self.mirror && self.repeat_last), "pad_sequence", &true, || {
            "mirror_sequence is set as well; choose one".to_owned()
        })?;
        if !self.kind.is_vimeo() {
            return require(scale == 1, "temporal_scale", &scale, || {
                "only Vimeo sets leave frames out; use interval_list".to_owned()
            });
        }
        require(frames <= VIMEO_FRAMES, "num_frame", &frames, || {
            format!("Vimeo sequences have {VIMEO_FRAMES} frames")
        })?;
        if self.kind == SetKind::Vimeo {
            return Ok(());
        }
        require(
            !self.mirror && !self.repeat_last,
            "pad_sequence or mirror_sequence",
            &true,
            || "interpolation makes one frame; leave it out".to_owned(),
        )?;
        let middle = frames / 2;
        let between = frames % 2 == 1 && frames > 1 && !middle.is_multiple_of(scale);
        require(between && (frames - 1).is_multiple_of(scale), "num_frame", &frames, || {
            format!(
                "with temporal_scale {scale}, frames on both sides of the middle one must be \
                 taken, and not itself: 7 and 2, for example"
            )
        })
    }
}

/// An error about `key` unless `fine`.
fn require(
    fine: bool,
    key: &'static str,
    value: &dyn std::fmt::Display,
    reason: impl FnOnce() -> String,
) -> Result<(), DataError> {
    if fine {
        return Ok(());
    }
    Err(DataError::Option { key, value: value.to_string(), reason: reason() })
}
