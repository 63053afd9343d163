//! Frames in and out of folders, YUV4MPEG2 and ffmpeg, and what is measured on them.
//!
//! This crate knows no tensors. A video is a [`FrameSource`], its restored form goes into a
//! [`FrameSink`], and both speak [`Frame`]: interleaved `[height, width, channels]`, `f32` in 0…1.

#![forbid(unsafe_code)]

mod degrade;
mod error;
mod ffmpeg;
mod frame;
mod layout;
mod metrics;
mod noise;
mod open;
mod picture;
mod prepare;
mod probe;
mod registration;
mod resize;
mod scene;
mod simulate;
mod sink;
mod source;
mod spikes;
mod stream;
mod training;
mod y4m;
mod ycbcr;

pub use degrade::{
    Compressed, Degradation, DegradedSet, Light, Scale, average, bicubic, blur_down, compress,
    degrade_set,
};
pub use error::VideoError;
pub use ffmpeg::{FfmpegError, Kept, Programs};
pub use frame::Frame;
pub use layout::{ClipFolder, ClipPair, FramePair, Pairing, is_there, list_clips, pair_clips};
pub use metrics::{
    Averaging, ClipScore, FrameScore, Scores, SetScore, SsimKind, psnr, psnr_y, score, ssim, ssim_y,
};
pub use noise::ClipNoise;
pub use open::{OpenOptions, SinkOptions, create, open};
pub use picture::{
    BitDepth, JpegQuality, PictureChannels, encode_jpeg, encode_picture, read_picture,
    write_picture,
};
pub use prepare::{
    Form, Plan, PlannedClip, PlannedTree, PrepareError, PreparedTree, PublishedLayout,
};
pub use probe::{OtherStream, Probe, VideoStream, probe};
pub use registration::{Registration, RegistrationError, fits_frames, place_grey};
pub use resize::{one_aspect, resize_grey};
pub use scene::SceneDetector;
pub use simulate::{
    ClipRecord, LayerRecord, Part, SensorNoise, SimulateError, SimulatedSet, SimulationOptions,
    SpikesBeside, simulate,
};
pub use sink::ffmpeg::FfmpegSink;
pub use sink::folder::{FolderSink, FolderSinkOptions};
pub use sink::picture::PictureSink;
pub use sink::y4m::{Y4mChroma, Y4mDepth, Y4mSink, Y4mSinkOptions};
pub use sink::{FrameSink, Written};
pub use source::FrameSource;
pub use source::ffmpeg::FfmpegSource;
pub use source::folder::{FolderSource, is_picture, list_files, list_pictures};
pub use source::y4m::{Y4mOptions, Y4mSource};
pub use spikes::{Between, SpikeCamera, SpikeSet, SpikeSetOptions, simulate_spikes};
pub use stream::{
    ColorDescription, FrameRate, Matrix, Primaries, Range, Ratio, StreamInfo, TimedFrame, Transfer,
};
pub use training::{
    Agreement, Backend, CheckReport, ClipEntry, ClipList, DataError, FrameRoot, FrameTree, HeldOut,
    HeldOutClips, Sample, SetKind, SpikeClip, SpikeTree, TrainingSet, TrainingSetOptions,
    check_folders, check_set, held_out_clips,
};
