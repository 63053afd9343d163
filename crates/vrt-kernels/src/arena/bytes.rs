//! Parts of an arena as the memory of tensors.

use std::mem::MaybeUninit;

use burn_std::{AccessError, AccessPolicy, AllocationController, AllocationProperty, Bytes};

use super::Part;

impl Part {
    /// The part as the memory of a tensor.
    pub(crate) fn into_bytes(self) -> Bytes {
        let len = size_of_val(&*self);
        // SAFETY: all values of a part are initialised, and so are their bytes.
        unsafe { Bytes::from_controller(Box::new(self), len) }
    }
}

impl AllocationController for Part {
    /// What copies of the tensor are aligned to: values are, lines are this arena's own.
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(
        &mut self,
        _: AccessPolicy,
    ) -> Result<&mut [MaybeUninit<u8>], AccessError> {
        let (start, len) = (self.start().cast(), size_of_val(&**self));
        // SAFETY: these bytes are the part's values, which the caller leaves initialised.
        Ok(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), len) })
    }

    fn memory(&self, _: AccessPolicy) -> Result<&[MaybeUninit<u8>], AccessError> {
        let (start, len) = (self.start().cast(), size_of_val(&**self));
        // SAFETY: these bytes are the part's values.
        Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), len) })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Arena, SMALLEST};

    #[test]
    fn tensors_lie_in_parts() {
        let arena = Arena::new();
        arena.plan(1 << 16);
        let mut part = arena.take(SMALLEST).expect("room");
        part.fill(3.0);
        let place = part.as_ptr().addr();
        let mut bytes = part.into_bytes();
        assert_eq!((bytes.as_ptr().addr(), bytes.len()), (place, SMALLEST * size_of::<f32>()));
        let copy = bytes.clone();
        bytes.fill(0);
        assert!(copy.chunks_exact(4).all(|value| *value == 3f32.to_ne_bytes()));
        drop(bytes);
        assert_eq!(arena.take(SMALLEST).map(|part| part.as_ptr().addr()), Some(place));
    }
}
