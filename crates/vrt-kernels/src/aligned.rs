//! Memory that starts where a line of the processor's caches does: vectors read from there never
//! cross lines.

use std::ops::{Deref, DerefMut};

use bytemuck::Pod;

use crate::arena::{self, Part};

/// Bytes of a line, and of the widest vector.
const LINE: usize = 64;

/// Elements that do not change in number and start at a line.
#[derive(Debug)]
pub(crate) struct Aligned<E>(Place<E>);

#[derive(Debug)]
enum Place<E> {
    /// From the allocator: of these, `len` from `first` on.
    Own { values: Vec<E>, first: usize, len: usize },
    /// A part of the arena.
    Part(Part),
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

impl<E: Pod + Default> Aligned<E> {
    /// So many default elements, for long.
    pub(crate) fn new(len: usize) -> Self {
        let values = vec![E::default(); len + room::<E>()];
        let first = first(&values);
        Self(Place::Own { values, first, len })
    }

    /// So many elements, which may be any, for one call: of the arena, where it has room for them.
    pub(crate) fn passing(len: usize) -> Self {
        const { assert!(size_of::<E>() == size_of::<f32>()) };
        if let Some(part) = arena::take(len) {
            return Self(Place::Part(part));
        }
        let mut own = Self::new(len);
        if cfg!(test) {
            // What was not written shows: these bytes are not-a-number.
            bytemuck::cast_slice_mut::<E, u8>(&mut own).fill(u8::MAX);
        }
        own
    }
}

impl<E: Pod> Deref for Aligned<E> {
    type Target = [E];

    fn deref(&self) -> &[E] {
        match &self.0 {
            Place::Own { values, first, len } => &values[*first..][..*len],
            Place::Part(part) => bytemuck::cast_slice(part),
        }
    }
}

impl<E: Pod> DerefMut for Aligned<E> {
    fn deref_mut(&mut self) -> &mut [E] {
        match &mut self.0 {
            Place::Own { values, first, len } => &mut values[*first..][..*len],
            Place::Part(part) => bytemuck::cast_slice_mut(part),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arena::Arena;
    use crate::element::Pair;

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

    #[test]
    fn those_of_one_call_lie_in_the_arena() {
        let arena = Arena::new();
        let len = 1 << 13;
        arena.plan(2 * len as u64 * 4);
        arena.scope(|| {
            let _kept = Aligned::<f32>::new(len);
            assert_eq!(arena.reached(), 0);
            let mut values = Aligned::<Pair>::passing(len);
            assert_eq!((values.len(), arena.reached()), (len, len as u64 * 4));
            values.fill(Pair::default());
            assert!(values.iter().all(|pair| *pair == Pair::default()));
            let few = Aligned::<Pair>::passing(7);
            assert_eq!((few.len(), arena.reached()), (7, len as u64 * 4));
        });
    }
}
