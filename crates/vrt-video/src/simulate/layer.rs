//! One picture and the camera before it.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::camera::{Bounds, Camera, Homography, Span};
use super::chance::by_order;
use super::stills::{LEAST_SHRINKING, Stills};
use super::texture::Texture;
use crate::VideoError;
use crate::picture::Region;

/// By how much stills are shrunk at most.
const MOST_SHRINKING: f64 = 4.0;

/// Pixels around what a camera sees: the reach of the kernels, and what lies between two looks.
const MARGIN: f64 = 4.0;

/// By how much a camera that would leave its still is calmed, again and again.
const CALMING: f64 = 0.8;

/// Times that it is: what is left of any movement is no pixel.
const MOST_CALMING: usize = 60;

/// What is drawn for a layer: a part of a still, how much it shrinks, and a camera that stays in it.
#[derive(Clone, Debug)]
pub(super) struct LayerPlan {
    pub(super) still: usize,
    pub(super) camera: Camera,
    /// The part of the still.
    region: Region,
    /// The size that it shrinks to.
    size: (usize, usize),
    /// Where the camera rests on the shrunk part.
    origin: [f64; 2],
}

/// The times of a clip.
#[derive(Clone, Debug)]
pub(super) struct Times {
    /// From the beginning of the first frame interval to the end of the last.
    pub(super) whole: Span,
    /// The exposures.
    pub(super) exposures: Vec<Span>,
}

impl LayerPlan {
    /// A layer for frames of `size` whose longest blur in an exposure is `blur` pixels, or less if
    /// the still is too small for it.
    pub(super) fn draw(
        random: &mut ChaCha8Rng,
        stills: &Stills,
        size: (usize, usize),
        blur: f64,
        times: &Times,
    ) -> Self {
        let still = random.random_range(0..stills.count());
        let wanted = by_order(random, [LEAST_SHRINKING, MOST_SHRINKING]);
        let place = [random.random::<f64>(), random.random::<f64>()];
        let mut camera = Camera::draw(random, size).with_track(blur, &times.exposures);
        let room = [stills.size(still).0, stills.size(still).1].map(|side| side as f64);
        let mut bounds = camera.reach(times.whole);
        for _ in 0..MOST_CALMING {
            if most_shrinking(&bounds, room) >= LEAST_SHRINKING {
                break;
            }
            camera = camera.calmed(CALMING);
            bounds = camera.reach(times.whole);
        }
        let shrinking = wanted.min(most_shrinking(&bounds, room));
        let [width, height] = sides(&bounds).map(|side| (side * shrinking) as usize);
        let [left, top] = [0, 1].map(|axis| {
            let spare = room[axis] - [width, height][axis] as f64;
            (place[axis] * spare.max(0.0)) as usize
        });
        let size = [width, height].map(|side| (side as f64 / shrinking) as usize);
        // Texture pixels are counted by their middles.
        let origin = bounds.least.map(|least| MARGIN - least - 0.5);
        let region = Region { left, top, width, height };
        Self { still, camera, region, size: (size[0], size[1]), origin }
    }

    /// Where a place of the frame, from its middle, is on the shrunk part at `time`.
    pub(super) fn place(&self, time: f64, point: [f64; 2]) -> [f64; 2] {
        moved(self.camera.at(time), self.origin).apply(point)
    }

    /// By how much the still shrinks.
    pub(super) fn shrinking(&self) -> f64 {
        self.region.width as f64 / self.size.0 as f64
    }

    /// The layer, all of it covered.
    ///
    /// # Errors
    ///
    /// Says that the still cannot be decoded.
    pub(super) fn layer(&self, stills: &Stills) -> Result<Layer, VideoError> {
        let picture = stills.cut(self.still, self.region)?;
        let texture = Texture::shrunk(&picture, self.size);
        Ok(Layer { camera: self.camera.clone(), origin: self.origin, texture })
    }
}

/// Sides of what is seen, with its margin.
fn sides(bounds: &Bounds) -> [f64; 2] {
    [0, 1].map(|axis| (bounds.most[axis] - bounds.least[axis] + 2.0 * MARGIN).ceil() + 1.0)
}

/// By how much a still with the sides `room` may be shrunk so that all that is seen lies in it.
fn most_shrinking(bounds: &Bounds, room: [f64; 2]) -> f64 {
    let [width, height] = sides(bounds);
    (room[0] / width).min(room[1] / height)
}

/// `view` with `origin` as the place where the camera rests.
fn moved(view: Homography, origin: [f64; 2]) -> Homography {
    let Homography([first, second, last]) = view;
    let add = |row: [f64; 3], by: f64| [0, 1, 2].map(|at| row[at] + by * last[at]);
    Homography([add(first, origin[0]), add(second, origin[1]), last])
}

/// A picture and the camera before it.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) camera: Camera,
    /// Where the camera rests on the texture.
    pub(super) origin: [f64; 2],
    pub(super) texture: Texture,
}

impl Layer {
    /// From the middle of the frame to the texture.
    pub(super) fn view(&self, time: f64) -> Homography {
        moved(self.camera.at(time), self.origin)
    }
}
