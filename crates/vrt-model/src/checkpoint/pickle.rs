//! Writes the few pickles that checkpoints are made of (protocol 2, which every PyTorch reads).

use std::io;

use super::count;

/// A pickle in the making: operations append a value to the reader's stack.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    bytes: Vec<u8>,
}

impl Pickle {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0x80, 2] }
    }

    /// The pickle of the one value that is left.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(b'.');
        self.bytes
    }

    /// Starts a tuple, or the items of a dictionary.
    pub(super) fn mark(&mut self) {
        self.bytes.push(b'(');
    }

    /// A tuple of everything since the mark.
    pub(super) fn tuple(&mut self) {
        self.bytes.push(b't');
    }

    pub(super) fn empty_dict(&mut self) {
        self.bytes.push(b'}');
    }

    /// Puts keys and values since the mark into the dictionary before it.
    pub(super) fn set_items(&mut self) {
        self.bytes.push(b'u');
    }

    /// The class or function `name` of `module`.
    pub(super) fn global(&mut self, module: &str, name: &str) {
        self.bytes.extend(format!("c{module}\n{name}\n").into_bytes());
    }

    /// The result of a call: the function and its tuple of arguments come before.
    pub(super) fn call(&mut self) {
        self.bytes.push(b'R');
    }

    /// What the tuple before names outside of the pickle.
    pub(super) fn persistent(&mut self) {
        self.bytes.push(b'Q');
    }

    pub(super) fn no(&mut self) {
        self.bytes.push(0x89);
    }

    pub(super) fn text(&mut self, text: &str) -> io::Result<()> {
        let len = u32::try_from(text.len()).map_err(io::Error::other)?;
        self.bytes.push(b'X');
        self.bytes.extend(len.to_le_bytes());
        self.bytes.extend(text.as_bytes());
        Ok(())
    }

    pub(super) fn number(&mut self, number: usize) -> io::Result<()> {
        match i32::try_from(number) {
            Ok(number) => {
                self.bytes.push(b'J');
                self.bytes.extend(number.to_le_bytes());
            }
            Err(_) => {
                let number = i64::try_from(number).map_err(|_| too_large(&[number]))?;
                self.bytes.extend([0x8a, size_of::<i64>() as u8]);
                self.bytes.extend(number.to_le_bytes());
            }
        }
        Ok(())
    }

    pub(super) fn numbers(&mut self, numbers: &[usize]) -> io::Result<()> {
        self.mark();
        numbers.iter().try_for_each(|&number| self.number(number))?;
        self.tuple();
        Ok(())
    }

    pub(super) fn empty_ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.mark();
        self.tuple();
        self.call();
    }

    /// A tensor of all values of the storage `key`, row-major.
    pub(super) fn tensor(&mut self, key: &str, storage: &str, shape: &[usize]) -> io::Result<()> {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.mark();
        self.mark();
        self.text("storage")?;
        self.global("torch", storage);
        self.text(key)?;
        self.text("cpu")?;
        self.number(count(shape).ok_or_else(|| too_large(shape))?)?;
        self.tuple();
        self.persistent();
        self.number(0)?;
        self.numbers(shape)?;
        self.numbers(&strides(shape).ok_or_else(|| too_large(shape))?)?;
        self.no();
        self.empty_ordered_dict();
        self.tuple();
        self.call();
        Ok(())
    }
}

/// Values from one index to the next along each axis, row-major, as PyTorch counts them: an axis
/// of size 0 counts as one.
fn strides(shape: &[usize]) -> Option<Vec<usize>> {
    let mut strides: Vec<usize> = shape.to_vec();
    let mut stride = 1_usize;
    for size in strides.iter_mut().rev() {
        let size = std::mem::replace(size, stride);
        stride = stride.checked_mul(size.max(1))?;
    }
    Some(strides)
}

fn too_large(shape: &[usize]) -> io::Error {
    let message = format!("a tensor of sizes {shape:?} is larger than the form can count");
    io::Error::new(io::ErrorKind::InvalidData, message)
}
