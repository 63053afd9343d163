//! TensorBoard event files: numbers of steps and trials, and a picture of each trial.
//!
//! The messages are protocol buffers in records with checksums (TFRecord). A run that goes on
//! begins a new file in the same folder, and tells TensorBoard which steps are done again.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use prost::{Message, Oneof};
use vrt_video::{BitDepth, Frame, encode_picture};

/// What TensorBoard asks of the first record.
const VERSION: &str = "brain.Event:2";
/// Says that a session begins: steps from here on replace those of earlier files.
const START: i32 = 1;
/// Samples of a pixel.
const RGB: i32 = 3;

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(oneof = "What", tags = "3, 5, 7")]
    what: Option<What>,
}

#[derive(Clone, PartialEq, Oneof)]
enum What {
    #[prost(string, tag = "3")]
    Version(String),
    #[prost(message, tag = "5")]
    Summary(Summary),
    #[prost(message, tag = "7")]
    Session(Session),
}

#[derive(Clone, PartialEq, Message)]
struct Session {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(oneof = "Kind", tags = "2, 4")]
    kind: Option<Kind>,
}

#[derive(Clone, PartialEq, Oneof)]
enum Kind {
    #[prost(float, tag = "2")]
    Scalar(f32),
    #[prost(message, tag = "4")]
    Picture(Picture),
}

#[derive(Clone, PartialEq, Message)]
struct Picture {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    #[prost(int32, tag = "3")]
    colours: i32,
    #[prost(bytes = "vec", tag = "4")]
    png: Vec<u8>,
}

/// An event file that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("the TensorBoard file {path:?} cannot be written: {source}")]
pub struct BoardError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub source: io::Error,
}

/// An event file.
#[derive(Debug)]
pub struct Board {
    path: PathBuf,
    file: File,
}

impl Board {
    /// Begins a file in `folder` for a run that goes on behind `step`. Times are seconds since
    /// 1970.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn create(folder: &Path, time: f64, step: u64) -> Result<Self, BoardError> {
        let failed = |path: &Path, source| BoardError { path: path.to_path_buf(), source };
        std::fs::create_dir_all(folder).map_err(|source| failed(folder, source))?;
        let mut count = 0;
        let (path, file) = loop {
            let name = format!("events.out.tfevents.{:010}.vrt.{count}", time as u64);
            let path = folder.join(name);
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => count += 1,
                Err(source) => return Err(failed(&path, source)),
            }
        };
        let mut board = Self { path, file };
        board.record(time, 0, What::Version(VERSION.to_owned()))?;
        board.record(time, step + 1, What::Session(Session { status: START }))?;
        Ok(board)
    }

    /// Writes numbers of a step under their names.
    ///
    /// # Errors
    ///
    /// If they cannot be written.
    pub fn numbers(
        &mut self,
        time: f64,
        step: u64,
        numbers: &[(&str, f64)],
    ) -> Result<(), BoardError> {
        let value = |(tag, number): &(&str, f64)| Value {
            tag: (*tag).to_owned(),
            kind: Some(Kind::Scalar(*number as f32)),
        };
        let values = numbers.iter().map(value).collect();
        self.record(time, step, What::Summary(Summary { values }))
    }

    /// Writes an RGB picture of a step.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn picture(
        &mut self,
        time: f64,
        step: u64,
        tag: &str,
        frame: &Frame,
    ) -> Result<(), BoardError> {
        let png = encode_picture(frame, BitDepth::Eight)
            .map_err(|source| BoardError { path: self.path.clone(), source })?;
        let side = |size: usize| i32::try_from(size).unwrap_or(i32::MAX);
        let (height, width) = (side(frame.height()), side(frame.width()));
        let kind = Some(Kind::Picture(Picture { height, width, colours: RGB, png }));
        let values = vec![Value { tag: tag.to_owned(), kind }];
        self.record(time, step, What::Summary(Summary { values }))
    }

    fn record(&mut self, wall_time: f64, step: u64, what: What) -> Result<(), BoardError> {
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        let message = Record { wall_time, step, what: Some(what) }.encode_to_vec();
        let length = (message.len() as u64).to_le_bytes();
        let mut record = Vec::with_capacity(message.len() + 16);
        record.extend(length);
        record.extend(masked_checksum(&length));
        record.extend(&message);
        record.extend(masked_checksum(&message));
        // In one piece: a run that is killed leaves at most one record cut, which readers pass over.
        let written = self.file.write_all(&record);
        written.map_err(|source| BoardError { path: self.path.clone(), source })
    }
}

/// CRC-32C, turned and shifted as TFRecord wants it.
fn masked_checksum(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a file, once their checksums are right.
    fn records(path: &Path) -> Vec<Record> {
        let bytes = std::fs::read(path).unwrap();
        let (mut rest, mut records) = (&bytes[..], Vec::new());
        while !rest.is_empty() {
            let (length, behind) = rest.split_at(8);
            assert_eq!(behind[..4], masked_checksum(length));
            let length = u64::from_le_bytes(length.try_into().unwrap()) as usize;
            let message = &behind[4..4 + length];
            assert_eq!(behind[4 + length..][..4], masked_checksum(message));
            records.push(Record::decode(message).unwrap());
            rest = &behind[length + 8..];
        }
        records
    }

    #[test]
    fn the_checksum_is_the_documented_one() {
        // CRC-32C of "123456789" is 0xe306_9283; turned right by 15 bits, plus 0xa282_ead8.
        let masked: u32 = 0xc78a_b0e5;
        assert_eq!(masked_checksum(b"123456789"), masked.to_le_bytes());
    }

    #[test]
    fn a_file_begins_with_its_version_and_where_it_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = Board::create(folder.path(), 5.5, 12).unwrap();
        board.numbers(6.0, 13, &[("train/loss", 0.25), ("train/lr", 1e-3)]).unwrap();
        let frame = Frame::filled(3, 2, 3, 0.5);
        board.picture(7.0, 13, "test/first", &frame).unwrap();
        let second = Board::create(folder.path(), 5.5, 0).unwrap();
        assert_ne!(second.path, board.path);

        let records = records(&board.path);
        assert_eq!(records[0].what, Some(What::Version(VERSION.to_owned())));
        assert_eq!(
            (records[1].step, &records[1].what),
            (13, &Some(What::Session(Session { status: 1 })))
        );
        let Some(What::Summary(numbers)) = &records[2].what else { panic!("{records:?}") };
        assert_eq!(numbers.values[1].kind, Some(Kind::Scalar(1e-3)));
        assert_eq!((records[2].wall_time, records[2].step), (6.0, 13));
        let Some(What::Summary(pictures)) = &records[3].what else { panic!("{records:?}") };
        let Some(Kind::Picture(picture)) = &pictures.values[0].kind else { panic!("{pictures:?}") };
        assert_eq!((picture.width, picture.height), (3, 2));
        let path = folder.path().join("read.png");
        std::fs::write(&path, &picture.png).unwrap();
        let read = vrt_video::read_picture(&path, vrt_video::PictureChannels::Rgb).unwrap();
        assert_eq!((read.width(), read.height()), (3, 2));
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_named() {
        let error = Board::create(Path::new("/proc/no/such"), 0.0, 0).unwrap_err();
        assert!(error.to_string().contains("/proc/no/such"), "{error}");
    }
}
