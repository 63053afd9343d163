//! Structural similarity (Wang et al. 2004) with a separable Gaussian window.

use rayon::prelude::*;

/// Rows and columns of the window.
pub(crate) const WINDOW: usize = 11;

const RADIUS: usize = WINDOW / 2;
const SIGMA: f64 = 1.5;
const C1: f64 = (0.01 * 255.0) * (0.01 * 255.0);
const C2: f64 = (0.03 * 255.0) * (0.03 * 255.0);

/// What the window averages at one pixel: x, y, x², y², xy.
type Moments = [f64; 5];

/// Where the window is placed.
#[derive(Clone, Copy, PartialEq)]
enum Border {
    /// Where all of it lies inside.
    Inside,
    /// Everywhere: pixels outside are those of the nearest edge.
    Repeat,
}

/// The mean over planes of each plane's mean similarity, with the window inside the picture.
pub(super) fn per_channel(truth: &[Vec<f64>], output: &[Vec<f64>], size: (usize, usize)) -> f64 {
    let pairs = truth.iter().zip(output);
    let sum: f64 = pairs.map(|(x, y)| mean(&moments(x, y), size, Border::Inside)).sum();
    sum / truth.len() as f64
}

/// The mean similarity over pixels and channels, with a window over all three directions.
pub(super) fn volume(truth: &[Vec<f64>], output: &[Vec<f64>], size: (usize, usize)) -> f64 {
    let channels = truth.len();
    let pairs = truth.iter().zip(output);
    let planes: Vec<Vec<Moments>> = pairs.map(|(x, y)| moments(x, y)).collect();
    let blend = |channel: usize| {
        let mut blended = vec![[0.0; 5]; size.0 * size.1];
        for (step, weight) in window().into_iter().enumerate() {
            let source = &planes[clamped(channel + step, channels)];
            blended.iter_mut().zip(source).for_each(|(sum, term)| add(sum, weight, term));
        }
        mean(&blended, size, Border::Repeat)
    };
    (0..channels).map(blend).sum::<f64>() / channels as f64
}

/// Weights of the window along one direction; their sum is 1.
fn window() -> [f64; WINDOW] {
    let weight = |at: usize| {
        let distance = at as f64 - RADIUS as f64;
        (-distance * distance / (2.0 * SIGMA * SIGMA)).exp()
    };
    let weights: [f64; WINDOW] = std::array::from_fn(weight);
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}

/// The place of tap `index + step − RADIUS` among `len`, of which `index_and_step` is the sum.
fn clamped(index_and_step: usize, len: usize) -> usize {
    index_and_step.saturating_sub(RADIUS).min(len - 1)
}

fn moments(x: &[f64], y: &[f64]) -> Vec<Moments> {
    x.iter().zip(y).map(|(&x, &y)| [x, y, x * x, y * y, x * y]).collect()
}

fn add(sum: &mut Moments, weight: f64, term: &Moments) {
    sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += weight * term);
}

/// The mean similarity over the places of the window.
fn mean(moments: &[Moments], (width, height): (usize, usize), border: Border) -> f64 {
    let weights = window();
    let (rows, columns, shift) = match border {
        // The window of place 0 begins at pixel 0.
        Border::Inside => (height - WINDOW + 1, width - WINDOW + 1, RADIUS),
        Border::Repeat => (height, width, 0),
    };
    let row_sum = |row: usize| {
        let mut blended = vec![[0.0; 5]; width];
        for (step, &weight) in weights.iter().enumerate() {
            let source = &moments[clamped(row + shift + step, height) * width..][..width];
            blended.iter_mut().zip(source).for_each(|(sum, term)| add(sum, weight, term));
        }
        let place = |column: usize| {
            let mut sum = [0.0; 5];
            for (step, &weight) in weights.iter().enumerate() {
                add(&mut sum, weight, &blended[clamped(column + shift + step, width)]);
            }
            similarity(sum)
        };
        (0..columns).map(place).sum::<f64>()
    };
    // Collected in order, so that the sum does not depend on the threads.
    let sums: Vec<f64> = (0..rows).into_par_iter().map(row_sum).collect();
    sums.iter().sum::<f64>() / (rows * columns) as f64
}

fn similarity([x, y, xx, yy, xy]: Moments) -> f64 {
    let (variance_x, variance_y, covariance) = (xx - x * x, yy - y * y, xy - x * y);
    (2.0 * x * y + C1) * (2.0 * covariance + C2)
        / ((x * x + y * y + C1) * (variance_x + variance_y + C2))
}
