//! Writing weights: aside first, then under their name.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use half::f16;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Serialize;
use zip::write::{SimpleFileOptions, ZipWriter};

use super::pickle::Pickle;
use super::{CONFIG_KEY, Checkpoint, CheckpointError, Element, account, count};
use crate::config::VrtConfig;
use crate::inventory::{BufferValues, Entry, Part, TensorSpec};
use crate::option_file;

/// Folder in the archive that everything is in; readers take any.
const FOLDER: &str = "archive";
/// Version of the archive's layout that PyTorch has written since 1.6.
const LAYOUT_VERSION: &str = "3\n";
/// PyTorch's name for storages of 32-bit floats.
const FLOATS: &str = "FloatStorage";
/// Where the header of a `.safetensors` file has its text.
const TEXT_KEY: &str = "__metadata__";
/// Where values start in a `.safetensors` file, and in a `.pth` file.
const HEADER_ALIGNMENT: usize = 8;
const STORAGE_ALIGNMENT: u16 = 64;

/// What happens to a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Existing {
    /// It stays, and writing fails.
    Keep,
    /// It is replaced once the new one is whole.
    Replace,
}

/// How values of a network are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Floats {
    /// As 32-bit floats: exactly.
    #[default]
    F32,
    /// As 16-bit floats, rounded to nearest: half the size.
    F16,
}

/// What of a network is stored, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Stored {
    /// How values are stored.
    pub floats: Floats,
    /// Leaves the flow network out, which several networks can share.
    pub without_flow: bool,
}

impl From<Floats> for Stored {
    fn from(floats: Floats) -> Self {
        Self { floats, without_flow: false }
    }
}

impl Stored {
    /// The tensors of `config` that are stored.
    pub fn tensors(self, config: &VrtConfig) -> Vec<TensorSpec> {
        let mut tensors = config.tensors();
        tensors.retain(|spec| !(self.without_flow && spec.part == Part::Flow));
        tensors
    }
}

impl Floats {
    fn element(self) -> Element {
        match self {
            Self::F32 => Element::F32,
            Self::F16 => Element::F16,
        }
    }
}

/// Why a file came out incomplete.
enum Failure {
    Write(io::Error),
    Read(CheckpointError),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

impl From<zip::result::ZipError> for Failure {
    fn from(error: zip::result::ZipError) -> Self {
        Self::Write(error.into())
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        Self::Read(error)
    }
}

/// A tensor to write.
struct Written {
    name: String,
    shape: Vec<usize>,
    element: Element,
}

/// Every tensor of a checkpoint, as it is written.
fn all(checkpoint: &Checkpoint) -> Vec<Written> {
    let tensors = checkpoint.tensors.iter().map(|(name, tensor)| Written {
        name: name.clone(),
        shape: tensor.shape.clone(),
        element: tensor.element.written(),
    });
    tensors.collect()
}

/// The bytes of a tensor, as values that are written as `element`.
fn bytes(
    checkpoint: &Checkpoint,
    name: &str,
    element: Element,
) -> Result<Vec<u8>, CheckpointError> {
    match (checkpoint.tensors.get(name), element) {
        (Some(tensor), _) if !tensor.element.is_float() => {
            tensor.source.bytes(tensor).map_err(|source| checkpoint.unreadable(name, source))
        }
        (_, Element::F16) => halves(&checkpoint.read(name)?).ok_or_else(|| {
            let (path, name) = (checkpoint.path.clone(), name.to_owned());
            CheckpointError::TooLargeForHalf { path, name }
        }),
        _ => checkpoint.read(name).map(|values| floats(&values)),
    }
}

/// One entry of the header of a `.safetensors` file.
#[derive(Serialize)]
#[serde(untagged)]
enum HeaderEntry<'a> {
    Text(BTreeMap<&'a str, &'a str>),
    Tensor(&'a TensorInfo),
}

pub(super) fn safetensors(
    checkpoint: &Checkpoint,
    path: &Path,
    config: &VrtConfig,
    stored: Stored,
    existing: Existing,
) -> Result<(), CheckpointError> {
    account(config, checkpoint)?;
    let tensors = stored.tensors(config).into_iter().map(|spec| Written {
        name: spec.name,
        shape: spec.shape,
        element: stored.floats.element(),
    });
    let config = option_file::to_json(config).to_string();
    indexed(checkpoint, path, &tensors.collect::<Vec<_>>(), Some(&config), existing)
}

/// Every tensor as it is called, whatever network it is of.
pub(super) fn plain_safetensors(
    checkpoint: &Checkpoint,
    path: &Path,
    existing: Existing,
) -> Result<(), CheckpointError> {
    let mut tensors = all(checkpoint);
    // Wide values first keeps all of them at multiples of their size, as readers expect.
    tensors.sort_by_key(|tensor| Reverse(tensor.element.bits()));
    indexed(checkpoint, path, &tensors, None, existing)
}

/// Writes `tensors` of `checkpoint` behind an index, with its metadata, in which `config` takes
/// the place of the configuration.
fn indexed(
    checkpoint: &Checkpoint,
    path: &Path,
    tensors: &[Written],
    config: Option<&str>,
    existing: Existing,
) -> Result<(), CheckpointError> {
    let infos = infos(checkpoint, tensors)?;
    whole(path, existing, |file| {
        let text = checkpoint.metadata().iter();
        let mut text: BTreeMap<_, _> =
            text.map(|(key, text)| (key.as_str(), text.as_str())).collect();
        text.extend(config.map(|config| (CONFIG_KEY, config)));
        text.insert("format", "pt");
        let mut header = header(text, infos)?;
        header.resize(header.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
        let mut file = BufWriter::new(file);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for tensor in tensors {
            file.write_all(&bytes(checkpoint, &tensor.name, tensor.element)?)?;
        }
        Ok(file.flush()?)
    })
}

/// Where each tensor will lie.
fn infos(
    checkpoint: &Checkpoint,
    tensors: &[Written],
) -> Result<Vec<(String, TensorInfo)>, CheckpointError> {
    let mut end = 0_usize;
    let info = |Written { name, shape, element }: &Written| {
        let (name, shape, start) = (name.clone(), shape.clone(), end);
        let Some(dtype) = element.dtype() else {
            return Err(not_in_form(checkpoint, name, *element, ".safetensors"));
        };
        let bytes = count(&shape).and_then(|values| values.checked_mul(element.bits() / 8));
        let Some(next) = bytes.and_then(|bytes| start.checked_add(bytes)) else {
            let source = io::Error::other("it has more values than can be counted");
            return Err(checkpoint.unreadable(&name, source));
        };
        end = next;
        Ok((name, TensorInfo { dtype, shape, data_offsets: (start, end) }))
    };
    tensors.iter().map(info).collect()
}

/// The header as JSON: its bytes follow from what is in it, so that one input has one output.
fn header(text: BTreeMap<&str, &str>, infos: Vec<(String, TensorInfo)>) -> io::Result<Vec<u8>> {
    let checked = Metadata::new(None, infos).map_err(io::Error::other)?;
    let tensors = checked.tensors();
    let mut entries: BTreeMap<&str, HeaderEntry<'_>> =
        tensors.iter().map(|(name, info)| (name.as_str(), HeaderEntry::Tensor(info))).collect();
    entries.insert(TEXT_KEY, HeaderEntry::Text(text));
    serde_json::to_vec(&entries).map_err(io::Error::other)
}

fn not_in_form(
    checkpoint: &Checkpoint,
    name: String,
    element: Element,
    form: &'static str,
) -> CheckpointError {
    CheckpointError::NotInForm { path: checkpoint.path.clone(), name, element, form }
}

pub(super) fn pth(
    checkpoint: &Checkpoint,
    path: &Path,
    config: &VrtConfig,
    existing: Existing,
) -> Result<(), CheckpointError> {
    account(config, checkpoint)?;
    let entries = config.entries();
    let index = index(entries.iter().map(|entry| match entry {
        Entry::Parameter(spec) => (&spec.name, FLOATS, spec.shape.clone()),
        Entry::Buffer(spec) => (&spec.name, spec.buffer.torch_storage(), spec.buffer.shape()),
    }));
    let storages = entries.iter().map(|entry| match entry {
        Entry::Parameter(spec) => checkpoint.read(&spec.name).map(|values| floats(&values)),
        Entry::Buffer(spec) => Ok(match spec.buffer.values() {
            BufferValues::F32(values) => floats(&values),
            BufferValues::I64(values) => {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            }
        }),
    });
    archive(path, existing, index, storages)
}

/// Every tensor as it is called, whatever network it is of.
pub(super) fn plain_pth(
    checkpoint: &Checkpoint,
    path: &Path,
    existing: Existing,
) -> Result<(), CheckpointError> {
    let tensors = all(checkpoint);
    let entry = |Written { name, shape, element }| match element.torch_storage() {
        Some(storage) => Ok((name, storage, shape, element)),
        None => Err(not_in_form(checkpoint, name, element, ".pth")),
    };
    let entries = tensors.into_iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    let index =
        index(entries.iter().map(|(name, storage, shape, _)| (name, *storage, shape.clone())));
    let storages = entries.iter().map(|(name, .., element)| bytes(checkpoint, name, *element));
    archive(path, existing, index, storages)
}

/// Writes a `.pth` file of this pickle and these storages.
fn archive(
    path: &Path,
    existing: Existing,
    index: io::Result<Vec<u8>>,
    storages: impl Iterator<Item = Result<Vec<u8>, CheckpointError>>,
) -> Result<(), CheckpointError> {
    whole(path, existing, |file| {
        let mut archive = ZipWriter::new(BufWriter::new(file));
        let mut add = |name: &str, bytes: &[u8]| add(&mut archive, name, bytes);
        add("data.pkl", &index?)?;
        add("byteorder", b"little")?;
        for (key, bytes) in storages.enumerate() {
            add(&format!("data/{key}"), &bytes?)?;
        }
        add("version", LAYOUT_VERSION.as_bytes())?;
        Ok(archive.finish()?.flush()?)
    })
}

/// The pickle of `{"params": {name: tensor}}`, whose storages are numbered in this order: name,
/// PyTorch's name for the storage, sizes.
fn index<'a>(
    tensors: impl Iterator<Item = (&'a String, &'a str, Vec<usize>)>,
) -> io::Result<Vec<u8>> {
    let mut pickle = Pickle::new();
    pickle.empty_dict();
    pickle.mark();
    pickle.text("params")?;
    pickle.empty_ordered_dict();
    pickle.mark();
    for (key, (name, storage, shape)) in tensors.enumerate() {
        pickle.text(name)?;
        pickle.tensor(&key.to_string(), storage, &shape)?;
    }
    pickle.set_items();
    pickle.set_items();
    Ok(pickle.finish())
}

fn add<W: Write + Seek>(
    archive: &mut ZipWriter<W>,
    name: &str,
    bytes: &[u8],
) -> Result<(), Failure> {
    let options = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        // The same input gives the same bytes, whenever it is written.
        .last_modified_time(zip::DateTime::default())
        .with_alignment(STORAGE_ALIGNMENT)
        .large_file(u32::try_from(bytes.len()).is_err());
    archive.start_file(format!("{FOLDER}/{name}"), options)?;
    Ok(archive.write_all(bytes)?)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// The values as 16-bit floats; `None` if one of them would become infinite.
fn halves(values: &[f32]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * values.len());
    for value in values {
        let half = f16::from_f32(*value);
        if half.is_infinite() && value.is_finite() {
            return None;
        }
        bytes.extend(half.to_le_bytes());
    }
    Some(bytes)
}

/// Writes a file aside, in the same folder, and gives it its name when it is whole.
fn whole(
    path: &Path,
    existing: Existing,
    write: impl FnOnce(&mut File) -> Result<(), Failure>,
) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::Write { path: path.to_owned(), source };
    let exists = || CheckpointError::Exists { path: path.to_owned() };
    if existing == Existing::Keep && path.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut aside = tempfile::Builder::new();
    aside.prefix(".vrt-").suffix(".partial");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As files are made by default: the process's mask takes its share off.
        aside.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut aside = aside.tempfile_in(folder.unwrap_or(Path::new("."))).map_err(failed)?;
    write(aside.as_file_mut()).map_err(|failure| match failure {
        Failure::Write(source) => failed(source),
        Failure::Read(error) => error,
    })?;
    aside.as_file().sync_all().map_err(failed)?;
    let named = match existing {
        Existing::Keep => aside.persist_noclobber(path),
        Existing::Replace => aside.persist(path),
    };
    named.map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => exists(),
        _ => failed(error.error),
    })
}
