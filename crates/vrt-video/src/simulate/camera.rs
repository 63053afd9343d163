//! A camera that moves before a flat picture: shift, turn, zoom and tilt, smooth in time.

use rand_chacha::ChaCha8Rng;

use super::chance::{between, by_order};
use super::path::Path;

/// How far a camera turns at most, to either side, in radians.
const TURN: f64 = 0.35;

/// How far the zoom goes, as a logarithm.
const ZOOM: f64 = 0.08;

/// By how much a tilt enlarges one side and shrinks the other.
const TILT: f64 = 0.04;

/// Size on the frame of a pixel of the picture, on average: so that shrinking by zoom and tilt does
/// not alias.
const CLOSENESS: f64 = 1.06;

/// Instants per frame at which the reach of a camera is looked up.
const INSTANTS: usize = 8;

/// Steps that the length of a track is measured in.
const STEPS: usize = 8;

/// Times that the amplitude is corrected to meet a length, which it is nearly proportional to.
const CORRECTIONS: usize = 3;

/// Where a point of the frame is on the picture, in homogeneous coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Homography(pub(super) [[f64; 3]; 3]);

impl Homography {
    pub(super) fn apply(&self, [x, y]: [f64; 2]) -> [f64; 2] {
        let [u, v, w] = self.0.map(|[a, b, c]| a * x + b * y + c);
        [u / w, v / w]
    }
}

/// A stretch of time, in frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Span {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Least and greatest coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Bounds {
    pub(super) least: [f64; 2],
    pub(super) most: [f64; 2],
}

/// How a camera moves. Coordinates are pixels from the middle of the frame, and pixels of the
/// picture from where the camera rests.
#[derive(Clone, Debug)]
pub(super) struct Camera {
    /// Half the width and half the height of the frame.
    half: [f64; 2],
    /// By how much all paths are multiplied.
    amplitude: f64,
    shift: [(f64, Path); 2],
    turn: (f64, Path),
    zoom: (f64, Path),
    tilt: [(f64, Path); 2],
}

impl Camera {
    /// A random camera of a frame of `size`, whose speed is about 1 pixel per frame.
    pub(super) fn draw(random: &mut ChaCha8Rng, size: (usize, usize)) -> Self {
        let fastest = by_order(random, [1.0 / 20.0, 1.0 / 4.0]);
        let direction = between(random, [0.0, std::f64::consts::TAU]);
        let mut path = |weight: f64| (weight, Path::draw(random, fastest));
        let shift = [path(direction.cos()), path(direction.sin())];
        let (turn, zoom, tilt) = (path(1.0), path(1.0), [path(1.0), path(1.0)]);
        let mut weighted = |(_, path), most| (between(random, [0.0, most]), path);
        Self {
            half: [size.0 as f64 / 2.0, size.1 as f64 / 2.0],
            amplitude: 1.0,
            shift,
            turn: weighted(turn, 0.5),
            zoom: weighted(zoom, 0.25),
            tilt: tilt.map(|path| weighted(path, 0.15)),
        }
    }

    /// What it sees at the time `time`, in frames.
    pub(super) fn at(&self, time: f64) -> Homography {
        let value = |(weight, path): &(f64, Path)| self.amplitude * weight * path.at(time);
        // All paths are pixels at a corner of the frame.
        let corner = self.half[0].hypot(self.half[1]);
        let bounded = |of: &(f64, Path), most: f64| most * (value(of) / (corner * most)).tanh();
        let [x, y] = [0, 1].map(|axis| value(&self.shift[axis]));
        let (sin, cos) = bounded(&self.turn, TURN).sin_cos();
        let scale = 1.0 / (CLOSENESS * bounded(&self.zoom, ZOOM).exp());
        let [a, b] = [0, 1].map(|axis| bounded(&self.tilt[axis], TILT) / corner);
        Homography([
            [scale * cos + x * a, -scale * sin + x * b, x],
            [scale * sin + y * a, scale * cos + y * b, y],
            [a, b, 1.0],
        ])
    }

    /// The same camera, moving `factor` times as far.
    pub(super) fn calmed(mut self, factor: f64) -> Self {
        self.amplitude *= factor;
        self
    }

    /// The same camera, so fast that its longest track within one of `spans` is `length` pixels.
    pub(super) fn with_track(mut self, length: f64, spans: &[Span]) -> Self {
        for _ in 0..CORRECTIONS {
            let longest = spans.iter().map(|span| self.track(*span)).fold(0.0, f64::max);
            if longest > 0.0 {
                self.amplitude *= length / longest;
            }
        }
        self
    }

    /// The longest way that a corner or the middle of the frame goes within `span`, in pixels of the
    /// frame at the average zoom.
    pub(super) fn track(&self, span: Span) -> f64 {
        let step = (span.to - span.from) / STEPS as f64;
        let views = (0..=STEPS).map(|at| self.at(span.from + step * at as f64));
        let views: Vec<Homography> = views.collect();
        let points = self.corners().into_iter().chain([[0.0, 0.0]]);
        let lengths = points.map(|point| {
            let ways = views.windows(2).map(|pair| {
                let ([x, y], [u, v]) = (pair[0].apply(point), pair[1].apply(point));
                (u - x).hypot(v - y)
            });
            ways.sum::<f64>()
        });
        CLOSENESS * lengths.fold(0.0, f64::max)
    }

    /// All that it sees of the picture within `span`, but for what lies between two looks.
    pub(super) fn reach(&self, span: Span) -> Bounds {
        let count = ((span.to - span.from) * INSTANTS as f64).ceil().max(1.0) as usize;
        let step = (span.to - span.from) / count as f64;
        let none = Bounds { least: [f64::INFINITY; 2], most: [f64::NEG_INFINITY; 2] };
        (0..=count).fold(none, |bounds, at| {
            let view = self.at(span.from + step * at as f64);
            self.corners().into_iter().fold(bounds, |Bounds { least, most }, corner| {
                let point = view.apply(corner);
                Bounds {
                    least: [0, 1].map(|axis| least[axis].min(point[axis])),
                    most: [0, 1].map(|axis| most[axis].max(point[axis])),
                }
            })
        })
    }

    fn corners(&self) -> [[f64; 2]; 4] {
        let [x, y] = self.half;
        [[-x, -y], [x, -y], [-x, y], [x, y]]
    }
}
