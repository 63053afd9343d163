//! Opening a file: what kind it is, which of its weights, and where their values lie.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use pytorch_reader::{PytorchError, PytorchReader};
use safetensors::tensor::Metadata;
use zip::{CompressionMethod, ZipArchive};

use super::{Checkpoint, CheckpointError, StoredTensor, Which};

/// Bytes in front of a `.safetensors` header: its length.
const HEADER_START: usize = 8;
/// Bytes that tell every kind of file: a tar archive's name stands latest.
const START: u64 = 512;
/// Bytes of them that tell text from other files.
const START_OF_TEXT: usize = 64;
/// Where a tar archive says that it is one.
const TAR_MAGIC: (usize, &[u8]) = (257, b"ustar");
/// What a `.pth` file starts with since PyTorch 1.6, empty or not.
const ZIP_MAGICS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
/// What files of PyTorch 0.2 to 1.5 start with: a number, in bytes or in text.
const LEGACY_MAGICS: [&[u8]; 2] =
    [b"\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19", b"119547037146038801333356"];
/// First bytes of a pickle alone that the reader takes for one.
const PICKLE_STARTS: &[u8] = b"\x80(}]c";
/// Entry of a `.pth` file that names its tensors.
const INDEX: &str = "data.pkl";
/// The largest index that is read. One byte of a pickle can become a hundred in memory; a network
/// of 10,000 tensors needs less than 2 MiB.
const MAX_INDEX: u64 = 4 << 20;
/// The largest header that the format has.
const MAX_HEADER: u64 = 100_000_000;
/// How many times its own size a file's tensors may take: they can share what is stored.
const MAX_GROWTH: u128 = 4;
/// Keys that weights stand under, the averaged ones first.
const CONTAINERS: [&str; 3] = ["params_ema.", "params.", "state_dict."];
/// What wrapping a network for several devices puts in front of names.
const WRAPPER: &str = "module.";

/// Where a tensor's values are.
#[derive(Clone, Debug)]
pub(super) enum Source {
    /// In a `.pth` file.
    Torch(pytorch_reader::Tensor),
    /// In an open file, from this byte on.
    File(Arc<Mutex<File>>, u64),
    /// In the bytes of a file that is in memory, from this one on.
    Bytes(Arc<[u8]>, usize),
    /// Here.
    Memory(Arc<[f32]>),
}

impl Source {
    /// The values of `tensor`, which this is the source of.
    pub(super) fn read(&self, tensor: &StoredTensor) -> io::Result<Vec<f32>> {
        if let Self::Memory(values) = self {
            return Ok(values.to_vec());
        }
        let floats = tensor.element.floats(&self.bytes(tensor)?);
        floats.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not floats"))
    }

    /// The values of `tensor` as they are stored, little-endian.
    pub(super) fn bytes(&self, tensor: &StoredTensor) -> io::Result<Vec<u8>> {
        match self {
            Self::Memory(values) => Ok(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
            Self::Torch(stored) => stored.read(),
            // What these hold was held to the file's size when it was opened.
            Self::Bytes(file, start) => {
                let held = file.get(*start..).and_then(|rest| rest.get(..stored(tensor)?));
                Ok(held.ok_or(io::ErrorKind::InvalidData)?.to_vec())
            }
            Self::File(file, start) => {
                let mut bytes = vec![0; stored(tensor).ok_or(io::ErrorKind::InvalidData)?];
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                file.seek(SeekFrom::Start(*start))?;
                file.read_exact(&mut bytes)?;
                Ok(bytes)
            }
        }
    }
}

/// Bytes that the values of a tensor take; `None` if they cannot be counted.
fn stored(tensor: &StoredTensor) -> Option<usize> {
    tensor
        .values()
        .and_then(|values| values.checked_mul(tensor.element.bits()))
        .map(|bits| bits / 8)
}

/// A file's tensors and text, as it names them.
struct Contents {
    tensors: BTreeMap<String, StoredTensor>,
    metadata: BTreeMap<String, String>,
}

pub(super) fn open(path: &Path, which: Which) -> Result<Checkpoint, CheckpointError> {
    let failed = |source| CheckpointError::Io { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let held = file.metadata().map_err(failed)?.len();
    let mut start = Vec::new();
    (&mut file).take(START).read_to_end(&mut start).map_err(failed)?;
    let contents = match safetensors_header(&start) {
        Some(header) => open_safetensors(path, file, header, held)?,
        None => {
            check_torch(path, file, &start, held)?;
            open_torch(path, &start[..start.len().min(START_OF_TEXT)], held)?
        }
    };
    chosen(path, contents, which)
}

/// Opens the bytes of a `.safetensors` file, which errors call `path`.
pub(super) fn open_bytes(path: &Path, bytes: Arc<[u8]>) -> Result<Checkpoint, CheckpointError> {
    let held = bytes.len() as u64;
    let what = "it does not start like a .safetensors file";
    let header = safetensors_header(&bytes)
        .ok_or_else(|| CheckpointError::NotCheckpoint { path: path.to_owned(), what })?;
    let data_start = data_start(path, header, held)?;
    let text = &bytes[HEADER_START..data_start as usize];
    let source = |start: usize| Source::Bytes(Arc::clone(&bytes), data_start as usize + start);
    chosen(path, tensors_of(path, text, held - data_start, &source)?, Which::Best)
}

/// Those of a file's tensors that are asked for.
fn chosen(path: &Path, contents: Contents, which: Which) -> Result<Checkpoint, CheckpointError> {
    let tensors = select(contents.tensors, which).map_err(|problem| match problem {
        Unselected::None(wanted) => {
            CheckpointError::NoSuchWeights { path: path.to_owned(), wanted }
        }
        Unselected::Twice(name) => CheckpointError::Twice { path: path.to_owned(), name },
    })?;
    if tensors.is_empty() {
        return Err(CheckpointError::Empty { path: path.to_owned() });
    }
    Ok(Checkpoint { path: path.to_owned(), tensors, metadata: contents.metadata })
}

/// Bytes of the header, if a file that starts so is a `.safetensors` file.
fn safetensors_header(start: &[u8]) -> Option<u64> {
    let len = u64::from_le_bytes(*start.first_chunk::<HEADER_START>()?);
    (len <= MAX_HEADER && start.get(HEADER_START) == Some(&b'{')).then_some(len)
}

/// Where values start behind a header of that length, in a file of `held` bytes.
fn data_start(path: &Path, header: u64, held: u64) -> Result<u64, CheckpointError> {
    let start = HEADER_START as u64 + header;
    if start > held {
        let detail = format!("its header of {header} bytes ends behind the file");
        return Err(CheckpointError::Damaged { path: path.to_owned(), detail });
    }
    Ok(start)
}

fn open_safetensors(
    path: &Path,
    mut file: File,
    header: u64,
    held: u64,
) -> Result<Contents, CheckpointError> {
    let data_start = data_start(path, header, held)?;
    let mut text = Vec::new();
    let read = file.seek(SeekFrom::Start(HEADER_START as u64));
    let read = read.and_then(|_| (&mut file).take(header).read_to_end(&mut text));
    read.map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?;
    let file = Arc::new(Mutex::new(file));
    let source = |start: usize| Source::File(Arc::clone(&file), data_start + start as u64);
    tensors_of(path, &text, held - data_start, &source)
}

/// What a `.safetensors` header names, in a file with `held` bytes of values.
fn tensors_of(
    path: &Path,
    header: &[u8],
    held: u64,
    source: &dyn Fn(usize) -> Source,
) -> Result<Contents, CheckpointError> {
    let damaged = |detail: String| CheckpointError::Damaged { path: path.to_owned(), detail };
    let header: Metadata =
        serde_json::from_slice(header).map_err(|error| damaged(error.to_string()))?;
    let data = header.data_len() as u64;
    if data != held {
        return Err(damaged(format!("{data} bytes of values are named, {held} are there")));
    }
    let tensors = header.tensors().into_iter().map(|(name, info)| {
        let source = source(info.data_offsets.0);
        let tensor = StoredTensor { element: info.dtype.into(), shape: info.shape.clone(), source };
        (name, tensor)
    });
    let metadata = header.metadata().iter().flatten();
    let metadata = metadata.map(|(key, text)| (key.clone(), text.clone())).collect();
    Ok(Contents { tensors: tensors.collect(), metadata })
}

/// Refuses files whose pickles could take far more memory than the file explains. The reader of
/// pickles holds them to 100 MiB only, and what tar archives claim to nothing.
fn check_torch(path: &Path, file: File, start: &[u8], held: u64) -> Result<(), CheckpointError> {
    let refused = |what| Err(CheckpointError::NotCheckpoint { path: path.to_owned(), what });
    if ZIP_MAGICS.iter().any(|magic| start.starts_with(magic)) {
        return match check_index(file) {
            Ok(None) => Ok(()),
            Ok(Some(what)) => refused(what),
            Err(error) => {
                let detail = error.to_string();
                Err(CheckpointError::Damaged { path: path.to_owned(), detail })
            }
        };
    }
    let (at, magic) = TAR_MAGIC;
    if start.get(at..).is_some_and(|name| name.starts_with(magic)) {
        return refused(
            "it is a tar archive, as PyTorch wrote them before 2017; load it with a newer PyTorch \
             and save it again",
        );
    }
    // The form of PyTorch 0.2 to 1.5 holds values behind its pickles, which are not told apart
    // without reading them, so its pickles are held to nothing but the file's size.
    let legacy = start.get(..START_OF_TEXT).unwrap_or(start);
    let is_pickle = start.first().is_some_and(|first| PICKLE_STARTS.contains(first));
    if held > MAX_INDEX && is_pickle && !LEGACY_MAGICS.iter().any(|magic| holds(legacy, magic)) {
        return refused("it is a pickle alone, which holds no tensors; save it again with PyTorch");
    }
    Ok(())
}

/// What is wrong with the index of an archive, if anything: it lies there as it is, and is small.
fn check_index(file: File) -> zip::result::ZipResult<Option<&'static str>> {
    let mut archive = ZipArchive::new(BufReader::new(file))?;
    for entry in 0..archive.len() {
        let entry = archive.by_index_raw(entry)?;
        if !entry.name()?.ends_with(INDEX) {
            continue;
        }
        if entry.compression() != CompressionMethod::Stored {
            return Ok(Some(
                "its index, data.pkl, is compressed, which PyTorch never does; load it with \
                 PyTorch and save it again",
            ));
        }
        if entry.size().max(entry.compressed_size()) > MAX_INDEX {
            return Ok(Some(
                "its index, data.pkl, is larger than 4 MiB; save the weights alone, without \
                 the state of training",
            ));
        }
    }
    Ok(None)
}

fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn open_torch(path: &Path, start: &[u8], held: u64) -> Result<Contents, CheckpointError> {
    let reader = PytorchReader::new(path).map_err(|error| match (error, foreign(start)) {
        (PytorchError::Io(source), _) if source.kind() != io::ErrorKind::UnexpectedEof => {
            CheckpointError::Io { path: path.to_owned(), source }
        }
        (_, Some(what)) => CheckpointError::NotCheckpoint { path: path.to_owned(), what },
        (error, None) => {
            CheckpointError::Damaged { path: path.to_owned(), detail: error.to_string() }
        }
    })?;
    let tensors = reader.into_tensors();
    let claimed = tensors.values().map(|tensor| tensor.byte_len() as u128).sum::<u128>();
    if claimed > MAX_GROWTH * u128::from(held) {
        return Err(CheckpointError::TooLarge { path: path.to_owned(), claimed, held });
    }
    let tensors = tensors.into_iter().map(|(name, tensor)| {
        let (element, shape) = (tensor.dtype().into(), tensor.shape().to_vec());
        (name, StoredTensor { element, shape, source: Source::Torch(tensor) })
    });
    Ok(Contents { tensors: tensors.collect(), metadata: BTreeMap::new() })
}

/// What a file that starts so is, if that is easily told and no checkpoint.
fn foreign(start: &[u8]) -> Option<&'static str> {
    if start.is_empty() {
        return Some("the file is empty");
    }
    let text = start.trim_ascii_start();
    if text.starts_with(b"version https://git-lfs") {
        return Some("it is a Git LFS pointer; fetch the file it points to");
    }
    if text.starts_with(b"<") {
        return Some("it is a web page; fetch the file itself");
    }
    let printable = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    // Pickles of the oldest protocol are text too, but start with these.
    let pickle = matches!(start.first(), Some(b'(' | b'}' | b']' | b'c' | b'P' | b'L'));
    if start.iter().all(printable) && !pickle {
        return Some("it is text");
    }
    let known: [(&[u8], &str); 4] = [
        (b"\x89PNG", "it is a picture"),
        (b"\xff\xd8\xff", "it is a picture"),
        (b"\x89HDF", "it is an HDF5 file"),
        (b"\x1f\x8b", "it is a gzip archive; unpack it"),
    ];
    known.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, what)| *what)
}

/// Why weights could not be chosen.
enum Unselected {
    None(&'static str),
    Twice(String),
}

/// The tensors of the weights asked for, under their names in the network.
fn select(
    tensors: BTreeMap<String, StoredTensor>,
    which: Which,
) -> Result<BTreeMap<String, StoredTensor>, Unselected> {
    let holds = |container: &str| tensors.keys().any(|name| name.starts_with(container));
    let best = CONTAINERS.into_iter().find(|container| holds(container));
    let container = match which {
        Which::Best => best,
        Which::Averaged if holds("params_ema.") => Some("params_ema."),
        Which::Averaged => return Err(Unselected::None("params_ema")),
        Which::Params if best.is_none() || holds("params.") => best.map(|_| "params."),
        Which::Params => return Err(Unselected::None("params")),
    };
    let mut chosen = BTreeMap::new();
    for (name, tensor) in tensors {
        let Some(name) = name.strip_prefix(container.unwrap_or_default()) else {
            continue;
        };
        let name = name.strip_prefix(WRAPPER).unwrap_or(name).to_owned();
        if chosen.insert(name.clone(), tensor).is_some() {
            return Err(Unselected::Twice(name));
        }
    }
    Ok(chosen)
}
