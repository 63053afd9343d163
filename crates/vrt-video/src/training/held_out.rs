//! REDS clips that networks are tested on.

use std::path::Path;

use super::{ClipList, DataError};

/// The test clips of REDS4.
const REDS4: [&str; 4] = ["000", "011", "015", "020"];

/// Clips of REDS: 240 to train on and 30 of the official validation set behind them.
const REDS_CLIPS: usize = 270;

/// The first official validation clip, where both sets are numbered as one.
const FIRST_OFFICIAL: usize = 240;

/// Which REDS clips are kept out of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeldOut {
    /// None.
    #[default]
    None,
    /// The four of REDS4: 000, 011, 015 and 020.
    Reds4,
    /// The 30 of the official validation set: 240 … 269.
    RedsOfficial,
}

impl HeldOut {
    /// Whether `clip` (`000`, or with folders before it) is held out.
    pub fn holds(self, clip: &str) -> bool {
        let name = clip.rsplit('/').next().unwrap_or(clip);
        match self {
            Self::None => false,
            Self::Reds4 => REDS4.contains(&name),
            Self::RedsOfficial => reds_number(name).is_some_and(|clip| clip >= FIRST_OFFICIAL),
        }
    }
}

/// The held-out clips that a list contains.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeldOutClips {
    /// Whether all clips of the list have names and sizes of REDS clips: only then do the others
    /// mean anything.
    pub is_reds: bool,
    /// Its clips of REDS4.
    pub reds4: Vec<String>,
    /// Its clips of the official validation set.
    pub official: Vec<String>,
}

/// Tells which held-out clips the list in the file `meta_info` contains.
///
/// # Errors
///
/// Says that the list cannot be read.
pub fn held_out_clips(meta_info: &Path) -> Result<HeldOutClips, DataError> {
    let list = ClipList::read(meta_info)?;
    let of = |part: HeldOut| {
        let held = list.clips().iter().filter(|clip| part.holds(&clip.name));
        held.map(|clip| clip.name.clone()).collect()
    };
    let is_reds = list.clips().iter().all(|clip| {
        let name = clip.name.rsplit('/').next().unwrap_or_default();
        reds_number(name).is_some() && clip.size.is_none_or(|size| size == (720, 1280))
    });
    Ok(HeldOutClips { is_reds, reds4: of(HeldOut::Reds4), official: of(HeldOut::RedsOfficial) })
}

/// The number of a REDS clip: three digits below 270.
fn reds_number(name: &str) -> Option<usize> {
    let digits = name.len() == 3 && name.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { name.parse().ok()? } else { return None };
    (number < REDS_CLIPS).then_some(number)
}
