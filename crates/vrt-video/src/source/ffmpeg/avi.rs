//! Whether an AVI file is all there.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Does the file end before the size that its chunks state?
///
/// A file that is no AVI, that cannot be read, or that states no size is not known to be cut.
pub(super) fn is_cut(path: &Path) -> bool {
    let chunks = File::open(path).and_then(|mut file| {
        let length = file.metadata()?.len();
        is_longer(&mut file, length)
    });
    chunks.is_ok_and(|cut| cut)
}

/// Goes from chunk to chunk (files above 1 GiB have several); is one longer than the file?
fn is_longer(file: &mut (impl Read + Seek), length: u64) -> std::io::Result<bool> {
    let mut place = 0;
    while place + 8 <= length {
        file.seek(SeekFrom::Start(place))?;
        let mut head = [0; 8];
        file.read_exact(&mut head)?;
        let [b'R', b'I', b'F', b'F', size @ ..] = head else {
            break;
        };
        let end = place + 8 + u64::from(u32::from_le_bytes(size));
        if end > length {
            return Ok(true);
        }
        // Chunks begin at even places.
        place = end.next_multiple_of(2);
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn cut(bytes: &[u8]) -> bool {
        is_longer(&mut Cursor::new(bytes), bytes.len() as u64).unwrap()
    }

    #[test]
    fn a_file_shorter_than_its_chunks_is_cut() {
        let whole = b"RIFF\x05\0\0\0AVI x\0RIFF\x04\0\0\0AVIX";
        assert!(!cut(whole));
        assert!(!cut(&[&whole[..], b"garbage behind it"].concat()));
        for length in [10, 12, 20, whole.len() - 1] {
            assert_eq!(cut(&whole[..length]), length != 20 && length != 14, "{length}");
        }
        assert!(!cut(b""));
        assert!(!cut(b"OggS and so on"));
        // Written to a pipe: no size is known.
        assert!(!cut(b"RIFF\0\0\0\0AVI LIST"));
    }
}
