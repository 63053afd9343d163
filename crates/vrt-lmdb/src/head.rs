//! What a `data.mdb` says of itself, read without mapping it.
//!
//! The first two pages are heads; the one with the higher transaction is in force. A head begins
//! behind the page's own 16 bytes, in the byte order of the machine that wrote it, and is laid out
//! for 64-bit machines.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use crate::LmdbError;

const MAGIC: u32 = 0xBEEF_C0DE;
const VERSION: u32 = 1;

/// Bytes of a head, those of its page included.
const HEAD_BYTES: usize = 152;

const MAGIC_AT: usize = 16;
const VERSION_AT: usize = 20;
const PAGE_BYTES_AT: usize = 40;
const LAST_PAGE_AT: usize = 136;
const TRANSACTION_AT: usize = 144;

/// Where the tree of entries is described.
const FLAGS_AT: usize = 92;
const DEPTH_AT: usize = 94;
const ROOT_AT: usize = 128;

/// The root of a tree without entries.
const NO_PAGE: u64 = u64::MAX;

/// Levels that LMDB keeps track of in a tree.
const MAX_DEPTH: u16 = 32;

/// Sizes of pages that LMDB makes.
const MAX_PAGE_BYTES: u32 = 64 << 10;

/// A head of an environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of a page.
    pub(crate) page_bytes: u32,
    /// The last page in use.
    pub(crate) last_page: u64,
    /// The page that the tree of entries begins at; `None` where there is no entry.
    pub(crate) root: Option<u64>,
    /// Levels of that tree.
    pub(crate) depth: u16,
    flags: u16,
    transaction: u64,
}

/// The head in force of the data file at `path`, and the file's length.
///
/// # Errors
///
/// Says that the file cannot be read, is no environment, or is shorter than its pages need.
pub(crate) fn read(path: &Path, file: &mut File) -> Result<(Head, u64), LmdbError> {
    let unreadable = |source| LmdbError::Read { path: path.to_path_buf(), source };
    let found = file.metadata().map_err(unreadable)?.len();
    let not_lmdb = |reason: String| LmdbError::NotLmdb { path: path.to_path_buf(), reason };
    let first = read_head(file, 0).map_err(not_lmdb)?;
    let second = read_head(file, u64::from(first.page_bytes)).map_err(not_lmdb)?;
    let head = if second.transaction > first.transaction { second } else { first };
    if head.page_bytes != first.page_bytes {
        return Err(not_lmdb("its two heads state different pages".to_owned()));
    }
    if head.flags != 0 {
        return Err(not_lmdb("its keys are not plain bytes with one value each".to_owned()));
    }
    let needed = head
        .last_page
        .checked_add(1)
        .and_then(|pages| pages.checked_mul(u64::from(head.page_bytes)))
        .ok_or_else(|| not_lmdb(format!("its last page is {}", head.last_page)))?;
    if found < needed {
        return Err(LmdbError::Truncated { path: path.to_path_buf(), found, needed });
    }
    if head.depth > MAX_DEPTH || (head.depth == 0) != head.root.is_none() {
        return Err(not_lmdb(format!("its tree has {} levels", head.depth)));
    }
    Ok((head, found))
}

fn read_head(file: &mut File, at: u64) -> Result<Head, String> {
    let mut bytes = [0; HEAD_BYTES];
    file.seek(SeekFrom::Start(at))
        .and_then(|_| file.read_exact(&mut bytes))
        .map_err(|error| format!("its head cannot be read ({error})"))?;
    parse(&bytes)
}

fn parse(bytes: &[u8; HEAD_BYTES]) -> Result<Head, String> {
    let magic = u32::from_ne_bytes(word(bytes, MAGIC_AT));
    if magic == MAGIC.swap_bytes() {
        return Err("it was written on a machine of the other byte order; write it anew".into());
    }
    if magic != MAGIC {
        return Err("its first bytes are not those of LMDB".into());
    }
    // Bits above are a mark of development versions.
    let version = u32::from_ne_bytes(word(bytes, VERSION_AT)) & 0xffff;
    if version != VERSION {
        return Err(format!("its format is version {version}, and only {VERSION} can be read"));
    }
    let page_bytes = u32::from_ne_bytes(word(bytes, PAGE_BYTES_AT));
    if !page_bytes.is_power_of_two() || !(512..=MAX_PAGE_BYTES).contains(&page_bytes) {
        return Err(format!("its pages have {page_bytes} bytes; was it made on a 64-bit machine?"));
    }
    let root = u64::from_ne_bytes(word(bytes, ROOT_AT));
    Ok(Head {
        page_bytes,
        last_page: u64::from_ne_bytes(word(bytes, LAST_PAGE_AT)),
        root: (root != NO_PAGE).then_some(root),
        depth: u16::from_ne_bytes(word(bytes, DEPTH_AT)),
        flags: u16::from_ne_bytes(word(bytes, FLAGS_AT)),
        transaction: u64::from_ne_bytes(word(bytes, TRANSACTION_AT)),
    })
}

/// The `N` bytes at `at`, which lie within a head.
fn word<const N: usize>(bytes: &[u8; HEAD_BYTES], at: usize) -> [u8; N] {
    std::array::from_fn(|byte| bytes[at + byte])
}
