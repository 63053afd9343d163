//! A stand-in for the network, and clips to give it.

use std::convert::Infallible;
use std::sync::{Arc, Barrier, Mutex};

use crate::tiled::ClipModel;
use crate::volume::Volume;

/// What a stand-in for the network does to a clip.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Repeats every pixel `scale` times each way and adds a constant.
    Add(f32),
    /// Mean over `2·radius + 1` frames, rows and columns, as far as the clip shows them.
    Mean(usize),
    /// A result that depends on where a tile was cut, so that only the right averages match.
    Place,
    /// Mean of the frames: one frame out of many.
    Middle,
}

pub(super) struct Stand {
    pub(super) rule: Rule,
    pub(super) scale: usize,
    pub(super) window: [usize; 3],
    /// Shapes of the clips that came.
    pub(super) seen: Mutex<Vec<[usize; 4]>>,
    pub(super) helpers: Vec<Self>,
    pub(super) meeting: Meeting,
}

/// Where models wait for each other in the first clip of each: all of them have one then.
#[derive(Default)]
pub(super) struct Meeting(Mutex<Option<Arc<Barrier>>>);

impl Meeting {
    pub(super) fn at(barrier: &Arc<Barrier>) -> Self {
        Self(Mutex::new(Some(Arc::clone(barrier))))
    }

    pub(super) fn attend(&self) {
        let first = self.0.lock().unwrap().take();
        if let Some(barrier) = first {
            barrier.wait();
        }
    }
}

impl Stand {
    pub(super) fn new(rule: Rule, scale: usize) -> Self {
        Self {
            rule,
            scale,
            window: [4, 8, 8],
            seen: Mutex::default(),
            helpers: Vec::new(),
            meeting: Meeting::default(),
        }
    }

    /// The same with so many helpers, each of which restores at least one clip.
    pub(super) fn with_helpers(self, helpers: usize) -> Self {
        let barrier = Arc::new(Barrier::new(1 + helpers));
        let meeting = || Meeting::at(&barrier);
        let helper = |_| Self {
            window: self.window,
            meeting: meeting(),
            ..Self::new(self.rule, self.scale)
        };
        Self { helpers: (0..helpers).map(helper).collect(), meeting: meeting(), ..self }
    }

    /// Shapes of the clips that came since this was last asked, to this one and to helpers.
    pub(super) fn take_seen(&self) -> Vec<[usize; 4]> {
        let own = std::mem::take(&mut *self.seen.lock().unwrap());
        own.into_iter().chain(self.helpers.iter().flat_map(Self::take_seen)).collect()
    }

    fn apply(&self, clip: &Volume, [frame, y, x, channel]: [usize; 4]) -> f32 {
        let [frames, height, width, channels] = clip.dims();
        let at = |d: usize, y: usize, x: usize| {
            clip.samples()[((d * height + y) * width + x) * channels + channel]
        };
        let (in_y, in_x) = (y / self.scale, x / self.scale);
        match self.rule {
            Rule::Add(constant) => at(frame, in_y, in_x) + constant,
            Rule::Place => at(frame, in_y, in_x) + (y * 31 + x * 17 + frame * 7) as f32,
            Rule::Mean(radius) => {
                let near =
                    |at: usize, len: usize| at.saturating_sub(radius)..len.min(at + radius + 1);
                let places = near(frame, frames)
                    .flat_map(|d| near(in_y, height).map(move |y| (d, y)))
                    .flat_map(|(d, y)| near(in_x, width).map(move |x| (d, y, x)));
                let count = places.clone().count();
                let sum: f64 = places.map(|(d, y, x)| f64::from(at(d, y, x))).sum();
                (sum / count as f64) as f32
            }
            Rule::Middle => (0..frames).map(|d| at(d, in_y, in_x)).sum::<f32>() / frames as f32,
        }
    }
}

impl ClipModel for Stand {
    type Error = Infallible;

    fn scale(&self) -> usize {
        self.scale
    }

    fn window(&self) -> [usize; 3] {
        self.window
    }

    fn helpers(&self) -> &[Self] {
        &self.helpers
    }

    fn restore(&self, clip: Volume) -> Result<Volume, Infallible> {
        self.meeting.attend();
        self.seen.lock().unwrap().push(clip.dims());
        let [frames, height, width, channels] = clip.dims();
        let frames = if matches!(self.rule, Rule::Middle) { 1 } else { frames };
        let dims = [frames, height * self.scale, width * self.scale, channels];
        let places = (0..dims.iter().product()).map(|i| {
            let [_, height, width, channels] = dims;
            let (pixel, channel) = (i / channels, i % channels);
            [pixel / width / height, pixel / width % height, pixel % width, channel]
        });
        let samples = places.map(|place| self.apply(&clip, place)).collect();
        Ok(Volume::new(dims, samples).unwrap())
    }
}

/// Samples in 0…1 without a pattern that tiles could share.
pub(super) fn noise(dims: [usize; 4]) -> Volume {
    let mut state = 12_345_u32;
    let samples = (0..dims.iter().product::<usize>()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32
    });
    Volume::new(dims, samples.collect()).unwrap()
}
