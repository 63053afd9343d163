//! Films clips again with two cameras: one that blurs, and one of spikes.

use std::path::{Path, PathBuf};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::film::Filming;
use super::plan::plan;
use super::{Between, SpikeSetOptions, side_file};
use crate::degrade::refuse_filled;
use crate::{OpenOptions, SimulateError, open};

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpikeSet {
    /// The folder with `CLIP/sharp` and `CLIP/blur`.
    pub frames_root: PathBuf,
    /// The folder with `CLIP/spike`.
    pub spikes_root: PathBuf,
    /// The clip list.
    pub list: PathBuf,
    /// Number of clips.
    pub clips: usize,
    /// Number of blurred frames.
    pub frames: u64,
    /// Frames of spikes beside each of them.
    pub spike_frames: usize,
    /// What was not read as it is, and of which clip, for a person.
    pub warnings: Vec<String>,
}

/// Makes blurred frames, streams of spikes and sharp frames of the clips in `source`, which is a
/// folder of folders of frames, or one video.
///
/// They are laid out as the public GoPro set with spikes is: `destination/rgb/PART/CLIP/sharp` and
/// `blur` with frames `000000.png` and on, `destination/spike/PART/CLIP/spike/000000.dat` and on, and
/// `config.yaml` in each clip's folder of these; the clip list is
/// `destination/meta_info_PART.txt`. Blanks in names of clips become `_`. `between` makes the frames
/// between frames.
///
/// The spike camera runs through a whole clip; a stream is what it saw during an exposure. A clip's
/// streams depend on the options, its frames and its place among the clips alone. In memory are the
/// frames of one exposure with their spikes, and the instants between three frames: 8 GiB at most.
///
/// # Errors
///
/// Before anything is written, names the option that cannot be, and says that `destination` is not
/// empty, or which clip is too short, has no size that spikes can have, or takes too much memory, as
/// far as the heads of its files tell. Later, that a frame cannot be read or written, or that a video
/// ends before there is one to write.
pub fn simulate_spikes(
    source: &Path,
    destination: &Path,
    options: &SpikeSetOptions,
    between: &mut dyn Between,
    on_clip: &mut dyn FnMut(&str),
) -> Result<SpikeSet, SimulateError> {
    options.check()?;
    refuse_filled(destination)?;
    let clips = plan(source, options, between)?;
    let [frames_root, spikes_root] =
        ["rgb", "spike"].map(|tree| destination.join(tree).join(&options.part));
    let (mut frames, mut lines, mut warnings) = (0, String::new(), Vec::new());
    for (at, clip) in clips.iter().enumerate() {
        let name = &clip.name;
        on_clip(name);
        let mut charges = ChaCha8Rng::seed_from_u64(options.seed);
        charges.set_stream(at as u64);
        let mut source = open(&clip.path, &OpenOptions::default())?;
        let folders = [frames_root.join(name), spikes_root.join(name).join("spike")];
        let filming = Filming::new(options, clip, [&folders[0], &folders[1]], charges.random());
        let filmed = filming.film(source.as_mut(), between)?;
        warnings
            .extend(source.warnings().iter().map(|it| format!("{}: {it}", clip.path.display())));
        frames += filmed;
        lines += &format!("{name} {filmed} ({},{},3) 000000\n", clip.size.1, clip.size.0);
        write(&spikes_root.join(name).join("config.yaml"), &side_file(clip.geometry))?;
    }
    let list = destination.join(format!("meta_info_{}.txt", options.part));
    write(&list, &lines)?;
    let (clips, spike_frames) = (clips.len(), options.frames * options.instants);
    Ok(SpikeSet { frames_root, spikes_root, list, clips, frames, spike_frames, warnings })
}

fn write(path: &Path, text: &str) -> Result<(), SimulateError> {
    std::fs::write(path, text)
        .map_err(|source| SimulateError::Write { path: path.to_path_buf(), source })
}
