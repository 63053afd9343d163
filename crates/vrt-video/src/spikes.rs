//! Spike cameras beside simulated frames.

mod film;
mod options;
mod plan;
mod set;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde::Serialize;
use vrt_spike::{Geometry, NewFile, Packed, Reset, SensorOptions, SpikeSensor};

use crate::degrade::Light;
#[cfg(test)]
use crate::degrade::to_light;
use crate::picture::GREY;
use crate::{Frame, VideoError};

pub use film::Between;
pub use options::SpikeSetOptions;
pub use set::{SpikeSet, simulate_spikes};

/// The most frames of spikes for one frame of a video.
pub(crate) const MAX_SPIKE_FRAMES: usize = 4096;

/// The highest threshold.
const MAX_THRESHOLD: f32 = 64.0;

/// By how much sides of a sensor are smaller at most.
const MAX_SHRINK: usize = 16;

/// A spike camera that looks at what another camera films. The default is how public sets were made,
/// with a sensor of the size of frames.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SpikeCamera {
    /// Sides of the video's frames by those of the sensor, whose pixels see means of theirs.
    pub shrink: usize,
    /// What pixels gather: grey as stored, or amounts of light.
    #[serde(serialize_with = "light_name")]
    pub light: Light,
    /// What makes a pixel fire; white adds 1 in a frame.
    pub threshold: f32,
    /// Whether a pixel that has fired begins at zero, and not with what it had above the threshold.
    pub reset_to_zero: bool,
    /// What darkness adds in a frame, on average.
    pub dark: f32,
}

impl Default for SpikeCamera {
    fn default() -> Self {
        let threshold = SensorOptions::default().threshold;
        Self { shrink: 1, light: Light::Gamma, threshold, reset_to_zero: false, dark: 0.0 }
    }
}

impl SpikeCamera {
    /// The first thing that cannot be: option, value and reason.
    pub(crate) fn problem(&self) -> Option<(&'static str, String, String)> {
        let Self { shrink, threshold, dark, .. } = *self;
        if !(1..=MAX_SHRINK).contains(&shrink) {
            return Some(("spike_shrink", shrink.to_string(), format!("it is 1 to {MAX_SHRINK}")));
        }
        if !(threshold > 0.0 && threshold <= MAX_THRESHOLD) {
            let reason = format!("it is above 0 and at most {MAX_THRESHOLD}");
            return Some(("spike_threshold", threshold.to_string(), reason));
        }
        if !(0.0..=1.0).contains(&dark) {
            return Some(("spike_dark", dark.to_string(), "it is 0 to 1".to_owned()));
        }
        None
    }

    /// How the frames of its sensor lie beside a video of this size, or why there are none.
    pub(crate) fn geometry(&self, size: (usize, usize)) -> Result<Geometry, String> {
        if !size.0.is_multiple_of(self.shrink) || !size.1.is_multiple_of(self.shrink) {
            return Err(format!(
                "frames of {}×{} are no whole number of pixels of a sensor whose sides are 1/{} of \
                 theirs: choose a shrink that divides both sides, or other sizes",
                size.0, size.1, self.shrink
            ));
        }
        let (width, height) = (size.0 / self.shrink, size.1 / self.shrink);
        Geometry::new(width, height).map_err(|_| {
            format!(
                "beside frames of {}×{}, a sensor of {width}×{height} pixels is no whole number of \
                 bytes: choose other sizes",
                size.0, size.1
            )
        })
    }

    /// Its sensor, whose pixels begin with charges that `seed` settles.
    pub(crate) fn sensor(&self, geometry: Geometry, seed: u64) -> SpikeSensor {
        let reset = if self.reset_to_zero { Reset::Zero } else { Reset::Subtract };
        let Self { threshold, dark, .. } = *self;
        SpikeSensor::new(geometry, SensorOptions { threshold, reset, dark, seed })
    }

    /// What its pixels see of a frame: R, G, B as `as_seen` makes them of samples.
    pub(crate) fn sees(
        &self,
        frame: &Frame,
        geometry: Geometry,
        as_seen: impl Fn(f32) -> f32,
    ) -> Vec<f32> {
        let (width, height) = (geometry.width(), geometry.height());
        let mut sums = vec![0.0; width * height];
        let rows = frame.samples().chunks_exact(3 * frame.width());
        for (y, row) in rows.enumerate() {
            let sums = &mut sums[y / self.shrink * width..][..width];
            for (x, pixel) in row.chunks_exact(3).enumerate() {
                let grey = pixel.iter().zip(GREY).map(|(sample, weight)| weight * as_seen(*sample));
                sums[x / self.shrink] += grey.sum::<f32>();
            }
        }
        let count = (self.shrink * self.shrink) as f32;
        sums.iter_mut().for_each(|sum| *sum /= count);
        sums
    }
}

fn light_name<S: serde::Serializer>(light: &Light, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(match light {
        Light::Gamma => "gamma",
        Light::Linear => "linear",
    })
}

/// The side file that says how streams lie.
pub(crate) fn side_file(geometry: Geometry) -> String {
    format!("spike_w: {}\nspike_h: {}\n", geometry.width(), geometry.height())
}

/// Writes the frames of a stream that is not there yet.
fn write_stream<'a>(
    path: &Path,
    frames: impl IntoIterator<Item = &'a Packed>,
) -> Result<(), VideoError> {
    let mut file = NewFile::create(path, false)?;
    for packed in frames {
        file.write_frames(packed)?;
    }
    Ok(file.finish()?)
}
