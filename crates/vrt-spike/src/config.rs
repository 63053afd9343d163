//! Which geometry a stream has: as stated, as a known camera's, or as a side file says.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::SpikeError;
use crate::geometry::{BitOrder, Camera, Geometry};

/// The side file of published streams.
const SIDE_FILE: &str = "config.yaml";

/// Folders whose side file is taken at its word: the stream's own, and the one above.
const NEAR: usize = 2;

/// Further ones above.
const FAR: usize = 3;

/// Longest side file.
const MAX_SIDE_FILE: u64 = 1 << 20;

/// What is stated about a stream; the rest is as usual.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stated {
    /// Columns and rows of the picture.
    pub size: Option<(usize, usize)>,
    /// Columns that are stored, where these are more.
    pub stored_width: Option<usize>,
    /// The camera that took it.
    pub camera: Option<Camera>,
    /// A file with `spike_w` and `spike_h` [default: `config.yaml` beside the stream or one folder
    /// above, else one up to four folders above that has them].
    pub config: Option<PathBuf>,
    /// Which bit of a byte is its first pixel.
    pub order: BitOrder,
    /// Whether rows are stored from the top down.
    pub upright: bool,
}

/// The geometry of the stream at `path`.
///
/// # Errors
///
/// Fails if nothing says what size frames have, naming the known ones that would fit, or if what
/// says it cannot be.
pub fn settle(path: &Path, stated: &Stated) -> Result<Geometry, SpikeError> {
    let geometry = match (stated.size, stated.camera) {
        (Some((width, height)), _) => of_size(path, (width, height), stated.stored_width)?,
        (None, Some(camera)) => camera.geometry(),
        (None, None) => match side_file(path, stated) {
            Some(side_file) => of_size(&side_file, read(&side_file)?, stated.stored_width)?,
            None => {
                let io = |source| SpikeError::Io { path: path.to_path_buf(), source };
                let bytes = fs::metadata(path).map_err(io)?.len();
                return Err(SpikeError::NoGeometry { path: path.to_path_buf(), bytes });
            }
        },
    };
    Ok(geometry.with_order(stated.order).with_upright(stated.upright))
}

fn of_size(
    path: &Path,
    (width, height): (usize, usize),
    stored: Option<usize>,
) -> Result<Geometry, SpikeError> {
    Geometry::stored(width, height, stored.unwrap_or(width))
        .map_err(|source| SpikeError::Geometry { path: path.to_path_buf(), source })
}

/// The file that says it, if there is one.
fn side_file(path: &Path, stated: &Stated) -> Option<PathBuf> {
    if stated.config.is_some() {
        return stated.config.clone();
    }
    let folders = path.ancestors().skip(1).take(NEAR + FAR);
    let files = folders.map(|folder| folder.join(SIDE_FILE)).enumerate();
    // Far from a stream there may be files of this name about something else.
    let fits = |at: usize, path: &Path| path.is_file() && (at < NEAR || read(path).is_ok());
    files.into_iter().find(|(at, path)| fits(*at, path)).map(|(_, path)| path)
}

/// Width and height of a side file. Two numbers are all that is looked for, at whatever depth, so
/// that nothing else in it matters.
fn read(path: &Path) -> Result<(usize, usize), SpikeError> {
    let io = |source| SpikeError::Io { path: path.to_path_buf(), source };
    let bad = |reason: String| SpikeError::Config { path: path.to_path_buf(), reason };
    let len = fs::metadata(path).map_err(io)?.len();
    if len > MAX_SIDE_FILE {
        return Err(bad(format!("{len} bytes are too many for a side file")));
    }
    let text = fs::read_to_string(path).map_err(io)?;
    let number = |key: &str| {
        let lines = text.lines().filter_map(|line| line.split('#').next()?.split_once(':'));
        let mut values =
            lines.filter(|(name, _)| name.trim().trim_matches(['"', '\'', '-', ' ']) == key);
        let (_, value) = values.next().ok_or_else(|| bad(format!("it has no {key}")))?;
        value.trim().parse().map_err(|_| bad(format!("{key} is {:?}, no number", value.trim())))
    };
    Ok((number("spike_w")?, number("spike_h")?))
}
