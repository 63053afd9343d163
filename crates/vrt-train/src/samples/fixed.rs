//! Clips of one file, as they are.

use std::path::Path;

use rand_chacha::ChaCha8Rng;
use vrt_model::Checkpoint;
use vrt_model::checkpoint::CheckpointError;
use vrt_model::volume::{Volume, VolumeError};

use super::{Sample, SampleError, Samples};

/// Names of the tensor with the clips that the network sees.
const DEGRADED: [&str; 2] = ["in.lq", "lq"];
/// Names of the tensor with the clips as they should come out.
const SHARP: [&str; 2] = ["in.gt", "gt"];

/// The clips of a `.safetensors` file: tensors `lq` and `gt` (or `in.lq` and `in.gt`), each
/// `[clips, frames, channels, rows, columns]`. They are not cropped, turned or changed: a network
/// that cannot learn them by heart cannot learn anything.
#[derive(Clone, Debug)]
pub struct FixedBatch {
    samples: Vec<Sample>,
}

/// Why a file is no batch.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FixedBatchError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// A tensor is missing or has other sizes.
    #[error("{path:?} is no batch: {what}")]
    Form {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong and what to do.
        what: String,
    },
}

impl FixedBatch {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// If it cannot be read, or does not hold as many clips of both kinds.
    pub fn open(path: &Path) -> Result<Self, FixedBatchError> {
        let file = Checkpoint::open(path)?;
        let form = |what: String| FixedBatchError::Form { path: path.to_path_buf(), what };
        let degraded = clips(&file, DEGRADED)?.map_err(form)?;
        let sharp = clips(&file, SHARP)?.map_err(form)?;
        if degraded.len() != sharp.len() {
            let what = format!(
                "{} has {} clips and {} has {}; each clip needs its truth",
                DEGRADED[1],
                degraded.len(),
                SHARP[1],
                sharp.len()
            );
            return Err(form(what));
        }
        let pairs = degraded.into_iter().zip(sharp).enumerate();
        let sample = |(i, (degraded, sharp))| {
            let key = format!("{i} of {}", path.display());
            Sample { key, degraded, sharp }
        };
        Ok(Self { samples: pairs.map(sample).collect() })
    }

    /// Frames, rows and columns of a clip; zeros if there is none.
    pub fn size(&self) -> [usize; 3] {
        self.samples.first().map_or([0; 3], |sample| {
            let [frames, rows, columns, _] = sample.degraded.dims();
            [frames, rows, columns]
        })
    }
}

/// The clips of a tensor, channels last; the inner error says what is wrong with it.
fn clips(
    file: &Checkpoint,
    names: [&str; 2],
) -> Result<Result<Vec<Volume>, String>, CheckpointError> {
    let Some(name) = names.into_iter().find(|name| file.tensors().contains_key(*name)) else {
        let what = format!("it has no tensor {} (or {})", names[1], names[0]);
        return Ok(Err(what));
    };
    let shape = file.tensors()[name].shape().to_vec();
    let [clips, frames, channels, rows, columns] = shape[..] else {
        let what = format!("{name} is {shape:?}; write [clips, frames, channels, rows, columns]");
        return Ok(Err(what));
    };
    let values = file.read(name)?;
    let dims = [frames, rows, columns, channels];
    let len = values.len() / clips.max(1);
    if len == 0 {
        return Ok(Err(format!("{name} is {shape:?}, which is empty")));
    }
    let volumes = values.chunks_exact(len).map(|values| channels_last(values, dims));
    Ok(volumes.collect::<Result<_, _>>().map_err(|error| format!("{name}: {error}")))
}

/// `[frames, channels, rows · columns]` → `[frames, rows, columns, channels]`
fn channels_last(values: &[f32], dims: [usize; 4]) -> Result<Volume, VolumeError> {
    let [_, rows, columns, channels] = dims;
    let pixels = rows * columns;
    let mut samples = Vec::with_capacity(values.len());
    for frame in values.chunks_exact(pixels * channels) {
        for pixel in 0..pixels {
            samples.extend((0..channels).map(|channel| frame[channel * pixels + pixel]));
        }
    }
    Volume::new(dims, samples)
}

impl Samples for FixedBatch {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn sample(&self, index: usize, _random: &mut ChaCha8Rng) -> Result<Sample, SampleError> {
        Ok(self.samples[index].clone())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use vrt_model::checkpoint::Existing;

    use super::*;

    type Shapes<'a> = &'a [(&'a str, &'a [usize])];

    fn written(tensors: Shapes<'_>) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("batch.safetensors");
        let tensors = tensors.iter().map(|(name, shape)| {
            let len = shape.iter().product::<usize>();
            ((*name).to_owned(), shape.to_vec(), (0..len).map(|i| i as f32).collect())
        });
        Checkpoint::from_values(tensors).write_plain_safetensors(&path, Existing::Keep).unwrap();
        (folder, path)
    }

    #[test]
    fn clips_come_out_channels_last_one_by_one() {
        let (_folder, path) = written(&[("lq", &[2, 2, 3, 2, 2]), ("gt", &[2, 2, 3, 2, 2])]);
        let batch = FixedBatch::open(&path).unwrap();
        assert_eq!(batch.len(), 2);
        let sample = batch.sample(1, &mut ChaCha8Rng::seed_from_u64(0)).unwrap();
        assert_eq!(sample.degraded, sample.sharp);
        assert_eq!(sample.sharp.dims(), [2, 2, 2, 3]);
        assert_eq!(sample.sharp.samples()[..6], [24.0, 28.0, 32.0, 25.0, 29.0, 33.0]);
    }

    #[test]
    fn what_is_no_batch_is_said() {
        let cases: [(Shapes<'_>, &str); 4] = [
            (&[("lq", &[1, 2, 3, 2, 2])], "no tensor gt"),
            (&[("lq", &[2, 3, 2, 2]), ("gt", &[1, 2, 3, 2, 2])], "lq is [2, 3, 2, 2]"),
            (&[("lq", &[2, 2, 3, 2, 2]), ("gt", &[1, 2, 3, 2, 2])], "needs its truth"),
            (&[("lq", &[1, 0, 3, 2, 2]), ("gt", &[1, 2, 3, 2, 2])], "is empty"),
        ];
        for (tensors, expected) in cases {
            let (_folder, path) = written(tensors);
            let error = FixedBatch::open(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("batch.safetensors"), "{error}");
        }
        assert!(FixedBatch::open(Path::new("/no/such/file")).is_err());
    }
}
