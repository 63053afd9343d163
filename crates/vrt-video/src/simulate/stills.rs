//! The still pictures below a folder, and the few of them that are held decoded.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

use super::{Part, SimulateError, SimulationOptions};
use crate::picture::{Decoded, Region, read_head};
use crate::source::folder::{is_picture, list, natural_order};
use crate::{Frame, VideoError};

/// Folders below the stills' that are looked into; a loop of links ends here.
const MAX_DEPTH: usize = 8;

/// Bytes of decoded stills that are held, beyond the newest.
const HELD_BYTES: usize = 512 << 20;

/// By how much stills are shrunk at least, so that what is blurred in them becomes sharp.
pub(super) const LEAST_SHRINKING: f64 = 1.5;

/// Pictures that clips are made of.
#[derive(Debug)]
pub(super) struct Stills {
    stills: Vec<Still>,
    /// The latest used last.
    held: Mutex<Vec<(usize, Arc<Decoded>)>>,
}

#[derive(Debug)]
struct Still {
    /// Its path below the folder, with `/` between folders.
    name: String,
    path: PathBuf,
    size: (usize, usize),
}

impl Stills {
    /// The stills of a part of those below `folder`, in the order of their names.
    ///
    /// # Errors
    ///
    /// Says that the folder cannot be read, that there is no still (in the part), or which one is
    /// broken or too small for the frames.
    pub(super) fn find(folder: &Path, options: &SimulationOptions) -> Result<Self, SimulateError> {
        let mut found = Vec::new();
        collect(folder, "", 0, &mut found)?;
        if found.is_empty() {
            return Err(VideoError::NoPictures { path: folder.to_path_buf() }.into());
        }
        found.sort_by(|(a, _), (b, _)| natural_order(a, b));
        let count = found.len();
        let part = found.into_iter().enumerate().filter(|(at, _)| options.part.has(*at));
        let part: Vec<_> = part.map(|(_, still)| still).collect();
        if part.is_empty() {
            debug_assert_eq!(options.part, Part::Test);
            return Err(SimulateError::EmptyPart { path: folder.to_path_buf(), stills: count });
        }
        let least = least_size(options.size());
        let stills = part.into_par_iter().map(|(name, path)| {
            let size = read_head(&path, 0)?.size;
            if size.0 < least.0 || size.1 < least.1 {
                return Err(SimulateError::SmallStill { path, size, least });
            }
            Ok(Still { name, path, size })
        });
        // All of them, so that the first in order is the one that is told.
        let stills: Vec<_> = stills.collect();
        let stills = stills.into_iter().collect::<Result<_, _>>()?;
        Ok(Self { stills, held: Mutex::default() })
    }

    pub(super) fn count(&self) -> usize {
        self.stills.len()
    }

    pub(super) fn names(&self) -> Vec<&str> {
        self.stills.iter().map(|still| still.name.as_str()).collect()
    }

    /// Width and height of a still.
    pub(super) fn size(&self, still: usize) -> (usize, usize) {
        self.stills[still].size
    }

    /// A part of a still, R, G, B.
    ///
    /// # Errors
    ///
    /// Says that it cannot be decoded.
    pub(super) fn cut(&self, still: usize, region: Region) -> Result<Frame, VideoError> {
        self.decoded(still)?.cut(region)
    }

    fn decoded(&self, still: usize) -> Result<Arc<Decoded>, VideoError> {
        if let Some(decoded) = self.take_up(still) {
            return Ok(decoded);
        }
        // Outside the lock: two threads may decode one still at once, and none waits for another.
        let decoded = Arc::new(Decoded::read(&self.stills[still].path)?);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(at, _)| *at != still);
        held.push((still, Arc::clone(&decoded)));
        let mut bytes: usize = held.iter().map(|(_, decoded)| decoded.bytes()).sum();
        while bytes > HELD_BYTES && held.len() > 1 {
            bytes -= held.remove(0).1.bytes();
        }
        Ok(decoded)
    }

    /// A still that is held, which becomes the latest used.
    fn take_up(&self, still: usize) -> Option<Arc<Decoded>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let place = held.iter().position(|(at, _)| *at == still)?;
        let entry = held.remove(place);
        let decoded = Arc::clone(&entry.1);
        held.push(entry);
        Some(decoded)
    }
}

/// The least size of a still for frames of `size`: what a calm camera sees of it, before shrinking.
fn least_size(size: (usize, usize)) -> (usize, usize) {
    let side = |pixels: usize| (LEAST_SHRINKING * (1.25 * pixels as f64 + 16.0)).ceil() as usize;
    (side(size.0), side(size.1))
}

fn collect(
    folder: &Path,
    name: &str,
    depth: usize,
    found: &mut Vec<(String, PathBuf)>,
) -> Result<(), VideoError> {
    let below = |path: &Path| {
        let last = path.file_name().unwrap_or_default().to_string_lossy();
        if name.is_empty() { last.into_owned() } else { format!("{name}/{last}") }
    };
    let pictures = list(folder, |path| is_picture(path) && path.is_file())?;
    found.extend(pictures.into_iter().map(|path| (below(&path), path)));
    if depth == MAX_DEPTH {
        return Ok(());
    }
    for path in list(folder, Path::is_dir)? {
        collect(&path, &below(&path), depth + 1, found)?;
    }
    Ok(())
}
