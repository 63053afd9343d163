//! Memory that starts where a line of the processor's caches does: vectors read from there never
//! cross lines.

use std::ops::{Deref, DerefMut};

/// Bytes of a line, and of the widest vector.
const LINE: usize = 64;

/// Elements that do not change in number and start at a line.
#[derive(Debug)]
pub(crate) struct Aligned<E> {
    values: Vec<E>,
    first: usize,
    len: usize,
}

/// Elements to take more than are needed, so that those needed can start at a line.
pub(crate) const fn room<E>() -> usize {
    const { assert!(size_of::<E>() > 0 && size_of::<E>() <= LINE) };
    LINE / size_of::<E>()
}

/// The first element that starts at a line, of a slice with [`room`].
pub(crate) fn first<E>(values: &[E]) -> usize {
    // Where no element starts at a line, any place will do.
    values.as_ptr().align_offset(LINE).min(room::<E>())
}

impl<E: Copy + Default> Aligned<E> {
    /// So many default elements.
    pub(crate) fn new(len: usize) -> Self {
        let values = vec![E::default(); len + room::<E>()];
        let first = first(&values);
        Self { values, first, len }
    }
}

impl<E> Deref for Aligned<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        &self.values[self.first..][..self.len]
    }
}

impl<E> DerefMut for Aligned<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        &mut self.values[self.first..][..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_start_at_a_line() {
        for len in 0..70 {
            let mut values = Aligned::<f32>::new(len);
            values.iter_mut().enumerate().for_each(|(i, value)| *value = i as f32);
            assert_eq!(values.as_ptr().addr() % LINE, 0);
            assert_eq!(values.len(), len);
            assert!(values.iter().enumerate().all(|(i, value)| *value == i as f32));
        }
    }
}
