//! NumPy's files: spikes as arrays of `[frames, rows, columns]`, from the top down, 0 or 1.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use npyz::{NpyHeader, Order, TypeChar, WriterBuilder};

use crate::error::SpikeError;
use crate::geometry::Geometry;
use crate::intensity::Intensity;
use crate::new_file::NewFile;
use crate::packed::Packed;
use crate::stream::SpikeStream;

/// Longest header of an array.
const MAX_HEADER: u32 = 1 << 16;

/// Most bytes of packed spikes that are taken into memory.
const MAX_BYTES: u64 = 1 << 32;

/// What an archive of arrays is asked for first.
const NAMES: [&str; 2] = ["spikes.npy", "spike.npy"];

/// Whether a path is one of NumPy's files, by its ending.
pub(crate) fn is_array(path: &Path) -> bool {
    is_plain(path) || is_archive(path)
}

/// The spikes of a `.npy` or `.npz` file.
///
/// # Errors
///
/// Fails if it cannot be read, or holds anything but one array of zeros and ones with three axes.
pub(crate) fn read(path: &Path) -> Result<Packed, SpikeError> {
    let io = |source| SpikeError::Io { path: path.to_path_buf(), source };
    let bad = |reason: String| SpikeError::Array { path: path.to_path_buf(), reason };
    let file = BufReader::new(File::open(path).map_err(io)?);
    let found = if is_archive(path) { of_archive(file) } else { of_array(file) };
    found.map_err(|error| match error {
        Bad::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            bad("it ends before its array does".to_owned())
        }
        Bad::Io(source) => io(source),
        Bad::Content(reason) => bad(reason),
    })
}

fn is_plain(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npz"))
}

/// Why an array is not taken.
enum Bad {
    Io(io::Error),
    Content(String),
}

impl From<io::Error> for Bad {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn of_archive(file: impl Read + Seek) -> Result<Packed, Bad> {
    let broken = |error: zip::result::ZipError| Bad::Content(format!("it is no archive: {error}"));
    let mut archive = zip::ZipArchive::new(file).map_err(broken)?;
    // Names that are no text name no array that anybody would ask for.
    let names = archive.file_names().flatten().filter(|name| name.ends_with(".npy"));
    let arrays: Vec<String> = names.map(|name| name.into_owned()).collect();
    let named = NAMES.into_iter().find(|name| arrays.iter().any(|array| array == name));
    let name = match (named, arrays.as_slice()) {
        (Some(name), _) => name,
        (None, [name]) => name,
        (None, []) => return Err(Bad::Content("it has no array in it".to_owned())),
        (None, several) => {
            let several = several.join(", ");
            return Err(Bad::Content(format!("it has {several}: call the spikes' one \"spikes\"")));
        }
    };
    of_array(archive.by_name(name).map_err(broken)?)
}

fn of_array(mut file: impl Read) -> Result<Packed, Bad> {
    let header = header(&mut file)?;
    let is_byte = match header.dtype() {
        npyz::DType::Plain(kind) => {
            let kinds = [TypeChar::Bool, TypeChar::Uint, TypeChar::Int];
            kinds.contains(&kind.type_char()) && kind.num_bytes() == Some(1)
        }
        _ => false,
    };
    let [frames, height, width] = *header.shape() else {
        let shape = header.shape();
        return Err(Bad::Content(format!("its shape is {shape:?}, not [frames, rows, columns]")));
    };
    if !is_byte || header.order() != Order::C {
        let kind = header.dtype().descr();
        let order = if header.order() == Order::C { "C" } else { "Fortran" };
        return Err(Bad::Content(format!(
            "it holds {kind} in {order} order: save bool or uint8 in C order"
        )));
    }
    let side = |side: u64| usize::try_from(side).unwrap_or(usize::MAX);
    let (width, height) = (side(width), side(height));
    let stored = width.checked_next_multiple_of(8).unwrap_or(usize::MAX);
    let geometry = Geometry::stored(width, height, stored);
    let geometry = geometry.map_err(|error| Bad::Content(error.to_string()))?;
    if frames.checked_mul(geometry.frame_bytes() as u64).is_none_or(|bytes| bytes > MAX_BYTES) {
        let most = MAX_BYTES / geometry.frame_bytes() as u64;
        return Err(Bad::Content(format!(
            "{frames} frames of {geometry} are more than the {most} that are taken into memory: \
             store them as .dat"
        )));
    }
    let (mut bytes, mut values) = (Vec::new(), vec![0; geometry.pixels()]);
    for frame in 0..frames {
        file.read_exact(&mut values)?;
        if let Some(value) = values.iter().find(|value| **value > 1) {
            return Err(Bad::Content(format!(
                "there is a {value} in frame {frame}: spikes are 0 or 1"
            )));
        }
        bytes.extend_from_slice(Packed::of_values(geometry, &values).bytes());
    }
    Ok(Packed::new(geometry, bytes))
}

/// An array's header, whose length is looked at before memory is taken for it.
fn header(file: &mut impl Read) -> Result<NpyHeader, Bad> {
    let mut start = [0; 12];
    file.read_exact(&mut start[..10])?;
    if !start.starts_with(b"\x93NUMPY") {
        return Err(Bad::Content("it is no array of NumPy".to_owned()));
    }
    let (len, taken) = match start[6] {
        1 => (u32::from(u16::from_le_bytes([start[8], start[9]])), 10),
        _ => {
            file.read_exact(&mut start[10..])?;
            (u32::from_le_bytes([start[8], start[9], start[10], start[11]]), 12)
        }
    };
    if len > MAX_HEADER {
        return Err(Bad::Content(format!("its header is {len} bytes long")));
    }
    let whole = start[..taken].chain(file);
    NpyHeader::from_reader(whole).map_err(|error| Bad::Content(format!("its header: {error}")))
}

impl SpikeStream {
    /// Writes the stream as an array of `[frames, rows, columns]`, uint8, 0 or 1, part by part.
    ///
    /// # Errors
    ///
    /// Fails if the stream cannot be read, or the array not be written.
    pub fn write_npy(&mut self, to: &mut NewFile) -> Result<(), SpikeError> {
        let g = self.geometry();
        let shape = [self.frames(), g.height() as u64, g.width() as u64];
        let parts = self.parts(0..self.frames());
        write_array(to, shape, parts.map(|part| Ok(self.read(part)?.values())))
    }
}

impl Intensity {
    /// Writes pictures of one size as an array of this shape, `[pictures, rows, columns]`, `f32`,
    /// one after the other as they come.
    ///
    /// # Errors
    ///
    /// Fails if a picture does, or the array cannot be written.
    pub fn write_npy(
        pictures: impl Iterator<Item = Result<Self, SpikeError>>,
        shape: [u64; 3],
        to: &mut NewFile,
    ) -> Result<(), SpikeError> {
        write_array(to, shape, pictures.map(|picture| Ok(picture?.into_values())))
    }
}

fn write_array<T: npyz::AutoSerialize>(
    to: &mut NewFile,
    shape: [u64; 3],
    parts: impl Iterator<Item = Result<Vec<T>, SpikeError>>,
) -> Result<(), SpikeError> {
    let path = to.path().to_path_buf();
    let io = |source| SpikeError::Io { path: path.clone(), source };
    let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
    let mut writer = options.writer(to).begin_nd().map_err(io)?;
    for part in parts {
        writer.extend(part?).map_err(io)?;
    }
    writer.finish().map_err(io)
}
