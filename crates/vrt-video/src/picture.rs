//! One picture file: decoded exactly, and written whole or not at all.

use std::fs::File;
use std::io::{self, BufRead, BufWriter, Cursor, Seek, Write};
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageReader, Limits};

use crate::VideoError;
use crate::error::shape_of;
use crate::frame::{Frame, quantise};

/// Bytes that a decoder may take for one picture.
const MAX_DECODER_BYTES: u64 = 2 << 30;

/// Weights of red, green and blue in grey (BT.601).
pub(crate) const GREY: [f32; 3] = [0.299, 0.587, 0.114];

/// Samples per pixel that a picture is read as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PictureChannels {
    /// Three: grey pictures repeat their sample.
    #[default]
    Rgb,
    /// One: colour pictures are weighted by BT.601 luma, which leaves equal samples unchanged.
    Grey,
}

impl PictureChannels {
    fn count(self) -> usize {
        match self {
            Self::Rgb => 3,
            Self::Grey => 1,
        }
    }
}

/// Bits per sample of written pictures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BitDepth {
    /// 256 codes.
    #[default]
    Eight,
    /// 65536 codes.
    Sixteen,
}

/// How much a JPEG file keeps: 1 (little) to 100 (nearly all).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JpegQuality(u8);

impl JpegQuality {
    /// Quality 95: differences are seen only where pixels are enlarged.
    pub const FINE: Self = Self(95);

    /// The quality `level`, or `None` where it is not in 1…100.
    pub fn new(level: u8) -> Option<Self> {
        (1..=100).contains(&level).then_some(Self(level))
    }
}

/// What a picture file says before its samples are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PictureHead {
    /// Width and height as shown.
    pub(crate) size: (usize, usize),
    pub(crate) bit_depth: u8,
}

/// Reads one PNG, JPEG, TIFF, WebP or BMP file of 8 or 16 bits per sample.
///
/// The format is told from the file's content. A code of 8 bits becomes code/255, one of 16 bits
/// code/65535. Transparency is dropped, and a rotation in the file's EXIF data is applied.
///
/// # Errors
///
/// Says that the file cannot be read or decoded, is too large, or holds floating-point samples.
pub fn read_picture(path: &Path, channels: PictureChannels) -> Result<Frame, VideoError> {
    decode(path, 0, channels).map(|(frame, _)| frame)
}

/// Writes `frame` (one or three channels) as a PNG file, under a temporary name until it is whole.
///
/// # Errors
///
/// Says that the file exists already and `overwrite` is not set, that it cannot be written, or that
/// the frame has another number of channels.
pub fn write_picture(
    path: &Path,
    frame: &Frame,
    depth: BitDepth,
    overwrite: bool,
) -> Result<(), VideoError> {
    write_numbered(path, frame, 0, depth, overwrite)
}

/// [`write_picture`], naming the frame by its number in errors.
pub(crate) fn write_numbered(
    path: &Path,
    frame: &Frame,
    number: u64,
    depth: BitDepth,
    overwrite: bool,
) -> Result<(), VideoError> {
    if !matches!(frame.channels(), 1 | 3) {
        return Err(VideoError::FrameShape {
            path: path.to_path_buf(),
            frame: number,
            got: shape_of(frame),
            expected: "1 or 3 channels".to_owned(),
        });
    }
    if !overwrite && path.symlink_metadata().is_ok() {
        return Err(VideoError::Exists { path: path.to_path_buf() });
    }
    write_whole(path, |writer| encode_png(writer, frame, depth))
        .map_err(|source| VideoError::Write { path: path.to_path_buf(), frame: number, source })
}

/// The bytes of a PNG file with `frame` in it.
///
/// # Errors
///
/// If the picture is too large for the form.
pub fn encode_picture(frame: &Frame, depth: BitDepth) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    encode_png(&mut bytes, frame, depth)?;
    Ok(bytes)
}

/// The bytes of a JPEG file with `frame` (one or three channels) in it, colour as fine as grey.
///
/// # Errors
///
/// If the picture is too large for the form, which takes sides up to 65535 pixels.
pub fn encode_jpeg(frame: &Frame, quality: JpegQuality) -> io::Result<Vec<u8>> {
    let side = |pixels: usize| u16::try_from(pixels).map(u32::from).map_err(io::Error::other);
    let codes: Vec<u8> =
        frame.samples().iter().map(|&value| quantise(value, 255.0) as u8).collect();
    let color = match frame.channels() {
        1 => ExtendedColorType::L8,
        _ => ExtendedColorType::Rgb8,
    };
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, quality.0)
        .write_image(&codes, side(frame.width())?, side(frame.height())?, color)
        .map_err(io::Error::other)?;
    Ok(bytes)
}

fn encode_png(writer: &mut impl Write, frame: &Frame, depth: BitDepth) -> io::Result<()> {
    let samples = frame.samples().iter();
    let bytes: Vec<u8> = match depth {
        BitDepth::Eight => samples.map(|&value| quantise(value, 255.0) as u8).collect(),
        BitDepth::Sixteen => {
            samples.flat_map(|&value| quantise(value, 65535.0).to_ne_bytes()).collect()
        }
    };
    let color = match (frame.channels(), depth) {
        (1, BitDepth::Eight) => ExtendedColorType::L8,
        (1, BitDepth::Sixteen) => ExtendedColorType::L16,
        (_, BitDepth::Eight) => ExtendedColorType::Rgb8,
        (_, BitDepth::Sixteen) => ExtendedColorType::Rgb16,
    };
    let side = |pixels: usize| u32::try_from(pixels).map_err(io::Error::other);
    PngEncoder::new_with_quality(writer, CompressionType::Fast, FilterType::Adaptive)
        .write_image(&bytes, side(frame.width())?, side(frame.height())?, color)
        .map_err(|error| match error {
            image::ImageError::IoError(error) => error,
            error => io::Error::other(error),
        })
}

/// The name under which `path` is written until it is whole: hidden, in the same folder.
pub(crate) fn partial_name(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    path.with_file_name(name)
}

/// Lets `write` fill a temporary file that takes the name `path` once it is whole.
fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let partial = partial_name(path);
    let written = File::create(&partial).and_then(|file| {
        let mut writer = BufWriter::new(file);
        write(&mut writer)?;
        writer.flush()?;
        std::fs::rename(&partial, path)
    });
    if written.is_err() {
        // The first error is the one to report; a leftover is hidden and overwritten next time.
        let _ = std::fs::remove_file(&partial);
    }
    written
}

fn failed(path: &Path, frame: u64, reason: impl std::fmt::Display) -> VideoError {
    VideoError::Picture { path: path.to_path_buf(), frame, reason: reason.to_string() }
}

fn open(path: &Path, frame: u64) -> Result<impl ImageDecoder, VideoError> {
    let read = |source| VideoError::Read { path: path.to_path_buf(), source };
    let reader = ImageReader::open(path).map_err(read)?.with_guessed_format().map_err(read)?;
    decoder_of(reader).map_err(|reason| failed(path, frame, reason))
}

/// The decoder of a picture whose format was guessed, after its size was found to be bearable.
fn decoder_of<'a, R: BufRead + Seek + 'a>(
    mut reader: ImageReader<R>,
) -> Result<impl ImageDecoder + use<'a, R>, String> {
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| error.to_string())?;
    let (width, height) = decoder.dimensions();
    match (width as usize).checked_mul(height as usize) {
        Some(1..=Frame::MAX_PIXELS) => Ok(decoder),
        _ => Err(format!("it is {width}×{height}; 1 to {} pixels are taken", Frame::MAX_PIXELS)),
    }
}

/// Size and depth of a picture, without its samples.
pub(crate) fn read_head(path: &Path, frame: u64) -> Result<PictureHead, VideoError> {
    head_of(open(path, frame)?).map_err(|reason| failed(path, frame, reason))
}

fn head_of(mut decoder: impl ImageDecoder) -> Result<PictureHead, String> {
    let (width, height) = decoder.dimensions();
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    let color = decoder.color_type();
    let bit_depth = 8 * color.bytes_per_pixel() / color.channel_count();
    let size = (width as usize, height as usize);
    let size = if is_turned(orientation) { (size.1, size.0) } else { size };
    Ok(PictureHead { size, bit_depth })
}

fn is_turned(orientation: image::metadata::Orientation) -> bool {
    use image::metadata::Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// A picture and its bits per sample.
pub(crate) fn decode(
    path: &Path,
    frame: u64,
    channels: PictureChannels,
) -> Result<(Frame, u8), VideoError> {
    let fail = |reason| failed(path, frame, reason);
    let image = upright(open(path, frame)?).map_err(fail)?;
    let bit_depth = 8 * image.color().bytes_per_pixel() / image.color().channel_count();
    let frame = cut(&image, Region::whole(&image), channels).map_err(fail)?;
    Ok((frame, bit_depth))
}

/// An encoded picture in memory.
#[derive(Debug)]
pub(crate) struct Encoded(pub(crate) Vec<u8>);

impl Encoded {
    fn decoder(&self) -> Result<impl ImageDecoder, String> {
        let reader = ImageReader::new(Cursor::new(&self.0[..]));
        decoder_of(reader.with_guessed_format().map_err(|error| error.to_string())?)
    }

    /// Size and depth, without its samples.
    pub(crate) fn head(&self) -> Result<PictureHead, String> {
        head_of(self.decoder()?)
    }

    /// The size of the whole picture, and the part of it that `choose` wants of that size.
    pub(crate) fn decode(
        &self,
        choose: impl FnOnce((usize, usize)) -> Result<Region, String>,
    ) -> Result<Frame, String> {
        let image = upright(self.decoder()?)?;
        let region = choose((image.width() as usize, image.height() as usize))?;
        cut(&image, region, PictureChannels::Rgb)
    }
}

/// A decoded picture of which parts are taken, with its samples as the file has them.
#[derive(Debug)]
pub(crate) struct Decoded {
    path: PathBuf,
    image: DynamicImage,
}

impl Decoded {
    /// The picture in the file `path`.
    pub(crate) fn read(path: &Path) -> Result<Self, VideoError> {
        let image = upright(open(path, 0)?).map_err(|reason| failed(path, 0, reason))?;
        Ok(Self { path: path.to_path_buf(), image })
    }

    /// Bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.image.as_bytes().len()
    }

    /// The part `region` of it, R, G, B, which must lie in it.
    pub(crate) fn cut(&self, region: Region) -> Result<Frame, VideoError> {
        cut(&self.image, region, PictureChannels::Rgb)
            .map_err(|reason| failed(&self.path, 0, reason))
    }
}

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Region {
    pub(crate) left: usize,
    pub(crate) top: usize,
    pub(crate) width: usize,
    pub(crate) height: usize,
}

impl Region {
    fn whole(image: &DynamicImage) -> Self {
        Self { left: 0, top: 0, width: image.width() as usize, height: image.height() as usize }
    }
}

/// The picture as it is to be shown.
fn upright(mut decoder: impl ImageDecoder) -> Result<DynamicImage, String> {
    let orientation = decoder.orientation().map_err(|error| error.to_string())?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(|error| error.to_string())?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// The part `region` of `image`, which must lie in it.
fn cut(image: &DynamicImage, region: Region, channels: PictureChannels) -> Result<Frame, String> {
    let color = image.color();
    let count = usize::from(color.channel_count());
    let stride = image.width() as usize * count;
    let rows = (region.top..region.top + region.height).map(|row| {
        let start = row * stride + region.left * count;
        start..start + region.width * count
    });
    let mut samples = Vec::with_capacity(region.width * region.height * channels.count());
    let bytes = image.as_bytes();
    match usize::from(color.bytes_per_pixel()) / count {
        1 => {
            for row in rows {
                gather(&bytes[row], count, channels, |&code| f32::from(code) / 255.0, &mut samples);
            }
        }
        2 => {
            let words = bytes.as_chunks::<2>().0;
            let value = |&word: &[u8; 2]| f32::from(u16::from_ne_bytes(word)) / 65535.0;
            for row in rows {
                gather(&words[row], count, channels, value, &mut samples);
            }
        }
        _ => return Err("floating-point samples; save it with 8 or 16 bits".to_owned()),
    }
    Ok(Frame::new(region.width, region.height, channels.count(), samples))
}

/// Adds the samples of pixels with `count` codes each: grey, grey-alpha, RGB or RGB-alpha.
fn gather<T>(
    codes: &[T],
    count: usize,
    channels: PictureChannels,
    value: impl Fn(&T) -> f32,
    samples: &mut Vec<f32>,
) {
    for pixel in codes.chunks_exact(count) {
        let [red, green, blue] = match pixel {
            [red, green, blue, ..] => [value(red), value(green), value(blue)],
            _ => [value(&pixel[0]); 3],
        };
        match channels {
            PictureChannels::Rgb => samples.extend([red, green, blue]),
            PictureChannels::Grey => samples.push(grey(red, green, blue)),
        }
    }
}

fn grey(red: f32, green: f32, blue: f32) -> f32 {
    if red == green && green == blue {
        return red;
    }
    GREY[0] * red + GREY[1] * green + GREY[2] * blue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_as_fine_as_grey_in_jpeg() {
        // Columns of red and blue, one pixel wide: shared chroma would make them purple.
        let samples = (0..32 * 16).flat_map(|at| match at % 2 {
            0 => [0.8, 0.1, 0.1],
            _ => [0.1, 0.1, 0.8],
        });
        let frame = Frame::new(32, 16, 3, samples.collect());
        let bytes = encode_jpeg(&frame, JpegQuality::FINE).unwrap();
        let back = Encoded(bytes)
            .decode(|(width, height)| Ok(Region { left: 0, top: 0, width, height }))
            .unwrap();
        let pairs = back.samples().iter().zip(frame.samples());
        let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.08, "{worst}");
    }

    #[test]
    fn more_quality_is_more_bytes_up_to_a_hundred() {
        let samples = (0..64 * 64 * 3).map(|at| (at * at % 97) as f32 / 97.0).collect();
        let frame = Frame::new(64, 64, 3, samples);
        let size = |level| encode_jpeg(&frame, JpegQuality::new(level).unwrap()).unwrap().len();
        assert!(size(10) < size(50) && size(50) < size(95));
        assert_eq!([0, 101].map(JpegQuality::new), [None; 2]);
        let wide = Frame::filled(70_000, 1, 1, 0.5);
        assert!(encode_jpeg(&wide, JpegQuality::FINE).is_err());
    }
}
