//! Samples of training sets on disk.

use rand_chacha::ChaCha8Rng;
use vrt_model::volume::{Volume, VolumeError};
use vrt_video::{Frame, TrainingSet};

use super::{Sample, SampleError, Samples};

impl Samples for TrainingSet {
    fn len(&self) -> usize {
        TrainingSet::len(self)
    }

    fn sample(&self, index: usize, random: &mut ChaCha8Rng) -> Result<Sample, SampleError> {
        let read = TrainingSet::sample(self, index, random);
        let read = read.map_err(|error| SampleError::Source(Box::new(error)))?;
        let key = read.key;
        let [degraded, sharp] = [read.degraded, read.sharp].map(volume);
        match (degraded, sharp) {
            (Ok(degraded), Ok(sharp)) => Ok(Sample { key, degraded, sharp }),
            (Err(source), _) | (_, Err(source)) => Err(SampleError::Volume { key, source }),
        }
    }
}

/// Frames one behind the other.
fn volume(frames: Vec<Frame>) -> Result<Volume, VolumeError> {
    let volumes = frames.into_iter().map(|frame| {
        let dims = [1, frame.height(), frame.width(), frame.channels()];
        Volume::new(dims, frame.into_samples())
    });
    Volume::concat(&volumes.collect::<Result<Vec<_>, _>>()?)
}
