//! The sine code that mutual attention adds to the tokens of a window.

use std::f64::consts::TAU;
use std::sync::{Arc, Mutex, PoisonError};

/// The code of windows of one size, kept until it is asked for another. Clones are the same place.
#[derive(Clone, Debug, Default)]
pub(crate) struct SineCode {
    kept: Arc<Mutex<Option<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    size: [usize; 3],
    code: Arc<[f32]>,
}

impl SineCode {
    /// The code of places of `[height, width, channels]`; see [`sine_code`].
    pub(crate) fn of(&self, size: [usize; 3]) -> Arc<[f32]> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = &*kept
            && kept.size == size
        {
            return kept.code.clone();
        }
        let [height, width, channels] = size;
        let code: Arc<[f32]> = sine_code(height, width, channels).into();
        *kept = Some(Kept { size, code: code.clone() });
        code
    }
}

/// The code of the places of one frame of a window, `[height, width, channels]`: half the
/// channels speak of the row, half of the column (as in arXiv:2005.12872, normalised).
pub(crate) fn sine_code(height: usize, width: usize, channels: usize) -> Vec<f32> {
    let half = channels / 2;
    let mut code = Vec::with_capacity(height * width * channels);
    for row in 0..height {
        for column in 0..width {
            code.extend((0..half).map(|i| wave(row, height, i, half)));
            code.extend((0..channels - half).map(|i| wave(column, width, i, half)));
        }
    }
    code
}

/// Channel `i` of `half` for place `index` of `len`: places count from 1 to a full turn.
fn wave(index: usize, len: usize, i: usize, half: usize) -> f32 {
    let turn = (index + 1) as f64 / (len as f64 + 1e-6) * TAU;
    let angle = turn / 10_000_f64.powf((2 * (i / 2)) as f64 / half as f64);
    let value = if i.is_multiple_of(2) { angle.sin() } else { angle.cos() };
    value as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_kept_until_another_is_asked_for() {
        let codes = SineCode::default();
        let [first, again] = [(); 2].map(|()| codes.clone().of([2, 3, 8]));
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(*first, sine_code(2, 3, 8));
        assert_eq!(*codes.of([3, 2, 8]), sine_code(3, 2, 8));
        assert_eq!(codes.of([2, 3, 8]), first);
    }
}
