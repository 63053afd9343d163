//! Stand-ins for networks, and folders to run them in.

use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;
use vrt_model::config::{VrtConfig, VrtFields};
use vrt_model::tiled::ClipModel;
use vrt_model::volume::Volume;
use vrt_video::{BitDepth, Frame, PictureChannels, read_picture, write_picture};

use super::super::*;

pub(super) const WIDTH: usize = 24;
pub(super) const HEIGHT: usize = 16;

/// A network that does what a test says, and keeps the sizes of clips it was given.
pub(super) struct Stand<F> {
    pub(super) scale: usize,
    pub(super) work: F,
    pub(super) clips: Mutex<Vec<[usize; 4]>>,
}

#[derive(Debug, thiserror::Error)]
#[error("the stand-in gives up")]
pub(super) struct GivesUp;

impl<F: Fn(Volume) -> Result<Volume, GivesUp>> Stand<F> {
    pub(super) fn new(scale: usize, work: F) -> Self {
        Self { scale, work, clips: Mutex::default() }
    }
}

impl<F: Fn(Volume) -> Result<Volume, GivesUp> + Sync> ClipModel for Stand<F> {
    type Error = GivesUp;

    fn scale(&self) -> usize {
        self.scale
    }

    fn window(&self) -> [usize; 3] {
        [2, 8, 8]
    }

    fn restore(&self, clip: Volume) -> Result<Volume, GivesUp> {
        self.clips.lock().unwrap().push(clip.dims());
        (self.work)(clip)
    }
}

/// Folders of a test, and a way to run it.
pub(super) struct Bench {
    pub(super) folder: TempDir,
}

impl Bench {
    /// A folder `in` of `frames` pictures, each of a colour of its own, in 16 bits.
    pub(super) fn new(frames: usize) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(bench.path("in")).unwrap();
        for i in 0..frames {
            bench.write(&format!("in/f{i}.png"), &picture(i, WIDTH, HEIGHT, 3));
        }
        bench
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn write(&self, name: &str, frame: &Frame) {
        write_picture(&self.path(name), frame, BitDepth::Sixteen, true).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> Frame {
        read_picture(&self.path(name), PictureChannels::Rgb).unwrap()
    }

    pub(super) fn run<M: ClipModel<Error: Send + Sync>>(
        &self,
        model: &M,
        fields: VrtFields,
        options: &RestoreOptions,
    ) -> Result<Summary, RestoreError> {
        let config = VrtConfig::new(fields).unwrap();
        let (input, output) = (self.path("in"), self.path("out"));
        restore_file(&input, &output, model, &config, options, &mut Silent)
    }

    pub(super) fn outputs(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.path("out")).unwrap();
        let mut names: Vec<_> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A picture that differs from its neighbours in time, but not like a cut.
pub(super) fn picture(index: usize, width: usize, height: usize, channels: usize) -> Frame {
    let code = |i: usize| (((i * 131 + index * 17) % 1000) + 20000) as f32 / 65535.0;
    let samples = (0..width * height * channels).map(code).collect();
    Frame::new(width, height, channels, samples)
}

pub(super) fn rgb() -> VrtFields {
    VrtFields { in_channels: 3, ..VrtFields::default() }
}

pub(super) fn tiles(frames: usize, size: usize) -> RestoreOptions {
    let spec = Overlap { frames: 1, size: 4 }.at_most_for(frames, size).of(frames, size).unwrap();
    RestoreOptions { tile: TileChoice::given(spec), scene_cuts: false, ..RestoreOptions::default() }
}
