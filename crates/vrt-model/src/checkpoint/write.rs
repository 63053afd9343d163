//! Writing weights: aside first, then under their name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, Write};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use zip::write::{SimpleFileOptions, ZipWriter};

use super::pickle::Pickle;
use super::{CONFIG_KEY, Checkpoint, CheckpointError, account};
use crate::config::VrtConfig;
use crate::inventory::{BufferValues, Entry};
use crate::option_file;

/// Folder in the archive that everything is in; readers take any.
const FOLDER: &str = "archive";
/// Version of the archive's layout that PyTorch has written since 1.6.
const LAYOUT_VERSION: &str = "3\n";
/// PyTorch's name for storages of 32-bit floats.
const FLOATS: &str = "FloatStorage";
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

/// Tensors by name and shape.
type Named = Vec<(String, Vec<usize>)>;

pub(super) fn safetensors(
    checkpoint: &Checkpoint,
    path: &Path,
    config: &VrtConfig,
    existing: Existing,
) -> Result<(), CheckpointError> {
    account(config, checkpoint)?;
    let tensors = config.tensors().into_iter().map(|spec| (spec.name, spec.shape));
    let config = option_file::to_json(config).to_string();
    let text = [(CONFIG_KEY.to_owned(), config)].into_iter().collect();
    indexed(checkpoint, path, tensors.collect(), text, existing)
}

/// Every tensor as it is called, whatever network it is of.
pub(super) fn plain_safetensors(
    checkpoint: &Checkpoint,
    path: &Path,
    existing: Existing,
) -> Result<(), CheckpointError> {
    let tensors = checkpoint.shapes().into_iter().collect();
    indexed(checkpoint, path, tensors, HashMap::new(), existing)
}

/// Writes `tensors` of `checkpoint` behind an index, with its metadata and `text`.
fn indexed(
    checkpoint: &Checkpoint,
    path: &Path,
    tensors: Named,
    mut text: HashMap<String, String>,
    existing: Existing,
) -> Result<(), CheckpointError> {
    whole(path, existing, |file| {
        let mut end = 0;
        let infos = tensors.iter().map(|(name, shape)| {
            let start = end;
            end += shape.iter().product::<usize>() * size_of::<f32>();
            let (dtype, shape, data_offsets) = (Dtype::F32, shape.clone(), (start, end));
            (name.clone(), TensorInfo { dtype, shape, data_offsets })
        });
        for (key, value) in checkpoint.metadata() {
            text.entry(key.clone()).or_insert_with(|| value.clone());
        }
        text.insert("format".to_owned(), "pt".to_owned());
        let header = Metadata::new(Some(text), infos.collect()).map_err(io::Error::other)?;
        let mut header = serde_json::to_vec(&header).map_err(io::Error::other)?;
        header.resize(header.len().next_multiple_of(HEADER_ALIGNMENT), b' ');
        let mut file = BufWriter::new(file);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        for (name, _) in &tensors {
            file.write_all(&floats(&checkpoint.read(name)?))?;
        }
        Ok(file.flush()?)
    })
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
    let tensors: Named = checkpoint.shapes().into_iter().collect();
    let index = index(tensors.iter().map(|(name, shape)| (name, FLOATS, shape.clone())));
    let read = |name: &String| checkpoint.read(name).map(|values| floats(&values));
    archive(path, existing, index, tensors.iter().map(|(name, _)| read(name)))
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
        .with_alignment(STORAGE_ALIGNMENT)
        .large_file(u32::try_from(bytes.len()).is_err());
    archive.start_file(format!("{FOLDER}/{name}"), options)?;
    Ok(archive.write_all(bytes)?)
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
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
