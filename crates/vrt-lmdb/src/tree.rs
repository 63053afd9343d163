//! Whether the pages of a `data.mdb` lead where they may, found out without mapping it.
//!
//! LMDB follows what pages say. A lookup reads branches, a leaf, and the pages of a large value: if
//! each of them lies in the file and each of a page's nodes lies in the page, no lookup leaves the
//! map. Values are not read, so that of a set of pictures about one page in a hundred is.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use crate::LmdbError;
use crate::head::{self, Head};

/// Bytes before a page's list of nodes.
const PAGE_HEAD: usize = 16;

/// Bytes of a node before its key.
const NODE_HEAD: usize = 8;

/// Bytes of a page's number where it stands for a value.
const PAGE_NUMBER: usize = 8;

/// Bits of a page's flags that say what it is.
const KINDS: u16 = 0x6f;
const BRANCH: u16 = 0x01;
const LEAF: u16 = 0x02;

/// The value of a leaf's node lies in pages of its own.
const LARGE: u16 = 0x01;

/// Why a page cannot be followed.
enum Fault {
    Read(io::Error),
    Page(u64, String),
}

/// The length of the data file at `path`, after its pages were found to be sound.
///
/// # Errors
///
/// Says that the file cannot be read, is no environment, is cut off, or which page is damaged.
pub(crate) fn check(path: &Path) -> Result<u64, LmdbError> {
    let unreadable = |source| LmdbError::Read { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(unreadable(io::Error::other("it is not a file")));
    }
    let (head, file_bytes) = head::read(path, &mut file)?;
    let Some(root) = head.root else { return Ok(file_bytes) };
    let mut walk = Walk { file, head, file_bytes, pages: 0 };
    walk.follow(root, 1).map_err(|fault| match fault {
        Fault::Read(source) => unreadable(source),
        Fault::Page(page, reason) => LmdbError::Damaged { path: path.to_path_buf(), page, reason },
    })?;
    Ok(file_bytes)
}

struct Walk {
    file: File,
    head: Head,
    file_bytes: u64,
    /// Pages that were followed; a sound tree has each page once.
    pages: u64,
}

impl Walk {
    /// Checks the page `number`, which is on `level` of the tree, and all below it.
    fn follow(&mut self, number: u64, level: u16) -> Result<(), Fault> {
        let fault = |reason: String| Fault::Page(number, reason);
        self.pages += 1;
        if self.pages > self.head.last_page {
            return Err(fault("is in a loop of pages".to_owned()));
        }
        let page = self.read(number)?;
        let leaf = level == self.head.depth;
        let kind = page.half(10) & KINDS;
        if kind != if leaf { LEAF } else { BRANCH } {
            return Err(fault(format!("is of kind {kind:#x} on level {level}")));
        }
        let nodes = page.nodes().map_err(fault)?;
        // LMDB takes for granted that a branch has two ways.
        if nodes.len() < if leaf { 1 } else { 2 } {
            return Err(fault(format!("has {} nodes", nodes.len())));
        }
        for node in nodes {
            if leaf {
                self.check_value(&page, node).map_err(fault)?;
            } else {
                let low = u64::from(page.half(node)) | u64::from(page.half(node + 2)) << 16;
                self.follow(low | u64::from(page.half(node + 4)) << 32, level + 1)?;
            }
        }
        Ok(())
    }

    /// Checks the value of a leaf's node: in the page behind the key, or in pages of the file.
    fn check_value(&self, page: &Page, node: usize) -> Result<(), String> {
        let bytes = usize::from(page.half(node)) | usize::from(page.half(node + 2)) << 16;
        let value = node + NODE_HEAD + usize::from(page.half(node + 6));
        match page.half(node + 4) {
            0 if value + bytes <= page.0.len() => Ok(()),
            LARGE if value + PAGE_NUMBER <= page.0.len() => {
                let first = u64::from_ne_bytes(page.bytes(value));
                let end = first
                    .checked_mul(u64::from(self.head.page_bytes))
                    .and_then(|start| start.checked_add(PAGE_HEAD as u64 + bytes as u64));
                let inside =
                    first <= self.head.last_page && end.is_some_and(|end| end <= self.file_bytes);
                if inside {
                    return Ok(());
                }
                Err(format!("has a value of {bytes} bytes at page {first}, outside the file"))
            }
            0 | LARGE => Err("has a value that does not fit in it".to_owned()),
            flags => Err(format!("has a value of kind {flags:#x}")),
        }
    }

    fn read(&mut self, number: u64) -> Result<Page, Fault> {
        if number > self.head.last_page {
            return Err(Fault::Page(
                number,
                format!("is behind the last, {}", self.head.last_page),
            ));
        }
        let mut bytes = vec![0; self.head.page_bytes as usize];
        // The file holds all pages up to the last, so that the product is below its length.
        self.file
            .seek(SeekFrom::Start(number * u64::from(self.head.page_bytes)))
            .and_then(|_| self.file.read_exact(&mut bytes))
            .map_err(Fault::Read)?;
        let page = Page(bytes);
        let stated = u64::from_ne_bytes(page.bytes(0));
        if stated != number {
            return Err(Fault::Page(number, format!("says that it is page {stated}")));
        }
        Ok(page)
    }
}

/// The bytes of a page.
struct Page(Vec<u8>);

impl Page {
    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        std::array::from_fn(|byte| self.0[at + byte])
    }

    fn half(&self, at: usize) -> u16 {
        u16::from_ne_bytes(self.bytes(at))
    }

    /// Where its nodes begin, each of which lies in the page up to the end of its key.
    fn nodes(&self) -> Result<Vec<usize>, String> {
        let end = usize::from(self.half(12));
        if !(PAGE_HEAD..=self.0.len()).contains(&end) || !end.is_multiple_of(2) {
            return Err(format!("has a list of nodes up to byte {end}"));
        }
        let places = (PAGE_HEAD..end).step_by(2).map(|at| usize::from(self.half(at)));
        places
            .map(|node| {
                let whole = node >= end && node + NODE_HEAD <= self.0.len();
                let key = if whole { usize::from(self.half(node + 6)) } else { 0 };
                if whole && node + NODE_HEAD + key <= self.0.len() {
                    return Ok(node);
                }
                Err(format!("has a node at byte {node} that does not fit in it"))
            })
            .collect()
    }
}
