//! Losses on tensors, with gradients, on any device.

use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};

use crate::recipe::LossKind;

/// Rows and columns that SSIM looks at around a pixel.
const SSIM_WINDOW: usize = 11;
/// Standard deviation of its Gaussian, in pixels.
const SSIM_SIGMA: f64 = 1.5;
/// (0.01 · 1)² and (0.03 · 1)², for values in 0…1.
const SSIM_C1: f64 = 1e-4;
const SSIM_C2: f64 = 9e-4;

/// The loss of a batch.
///
/// # Shapes
///
/// - `output` and `truth`: `[b, d, h, w, c]`
/// - result: one number
///
/// # Panics
///
/// Panics if the two have different shapes.
pub fn loss(kind: LossKind, output: Tensor<5>, truth: Tensor<5>) -> Tensor<1> {
    assert_eq!(output.dims(), truth.dims(), "output and truth of a loss");
    match kind {
        LossKind::L1 => (output - truth).abs().mean(),
        LossKind::L2 => (output - truth).square().mean(),
        LossKind::L2Sum => (output - truth).square().sum(),
        LossKind::Charbonnier { epsilon_squared } => {
            ((output - truth).square() + epsilon_squared).sqrt().mean()
        }
        LossKind::Ssim => ssim_map(planes(output), planes(truth)).mean().neg() + 1.0,
    }
}

/// What the loss of one of `parts` equal parts of a batch counts for in the whole: sums are added,
/// means averaged.
pub fn share(kind: LossKind, parts: usize) -> f64 {
    match kind {
        LossKind::L2Sum => 1.0,
        _ => (parts as f64).recip(),
    }
}

/// `[b, d, h, w, c]` → `[b·d·c, 1, h, w]`
fn planes(x: Tensor<5>) -> Tensor<4> {
    let [b, d, h, w, c] = x.dims();
    x.permute([0, 1, 4, 2, 3]).reshape([b * d * c, 1, h, w])
}

/// SSIM of each pixel, with zeros around the picture.
fn ssim_map(x: Tensor<4>, y: Tensor<4>) -> Tensor<4> {
    let weights = gaussian();
    let blur = |x: Tensor<4>| blur(x, &weights);
    let (mean_x, mean_y) = (blur(x.clone()), blur(y.clone()));
    let mean_xy = mean_x.clone() * mean_y.clone();
    let (mean_xx, mean_yy) = (mean_x.square(), mean_y.square());
    let variance_x = blur(x.clone().square()) - mean_xx.clone();
    let variance_y = blur(y.clone().square()) - mean_yy.clone();
    let covariance = blur(x * y) - mean_xy.clone();
    let above = (mean_xy * 2.0 + SSIM_C1) * (covariance * 2.0 + SSIM_C2);
    let below = (mean_xx + mean_yy + SSIM_C1) * (variance_x + variance_y + SSIM_C2);
    above / below
}

/// Weights of a Gaussian, which add up to 1.
fn gaussian() -> [f32; SSIM_WINDOW] {
    let centre = (SSIM_WINDOW / 2) as f64;
    let weight = |i| (-((i as f64 - centre) / SSIM_SIGMA).powi(2) / 2.0).exp();
    let sum: f64 = (0..SSIM_WINDOW).map(weight).sum();
    std::array::from_fn(|i| (weight(i) / sum) as f32)
}

/// Columns, then rows: the window is a product of two.
fn blur(x: Tensor<4>, weights: &[f32; SSIM_WINDOW]) -> Tensor<4> {
    let device = x.device();
    let pass = |x, shape: [usize; 4], padding: [usize; 2]| {
        let weight = kernel(weights, shape, &device);
        conv2d(x, weight, None, ConvOptions::new([1, 1], padding, [1, 1], 1))
    };
    let half = SSIM_WINDOW / 2;
    let x = pass(x, [1, 1, 1, SSIM_WINDOW], [0, half]);
    pass(x, [1, 1, SSIM_WINDOW, 1], [half, 0])
}

fn kernel(weights: &[f32; SSIM_WINDOW], shape: [usize; 4], device: &Device) -> Tensor<4> {
    Tensor::from_data(TensorData::new(weights.to_vec(), shape), device)
}

#[cfg(test)]
mod tests {
    use vrt_testing::Random;

    use super::*;

    const SHAPE: [usize; 5] = [2, 1, 13, 9, 3];
    const KINDS: [LossKind; 5] = [
        LossKind::L1,
        LossKind::L2,
        LossKind::L2Sum,
        LossKind::Charbonnier { epsilon_squared: 1e-6 },
        LossKind::Ssim,
    ];

    fn pictures(seed: u64) -> Vec<f32> {
        let mut random = Random::new(seed);
        (0..SHAPE.iter().product()).map(|_| random.uniform(0.0, 1.0)).collect()
    }

    fn tensor(values: &[f32]) -> Tensor<5> {
        let device = Device::flex().autodiff();
        Tensor::from_data(TensorData::new(values.to_vec(), SHAPE), &device)
    }

    fn number(x: &Tensor<1>) -> f64 {
        f64::from(x.clone().into_scalar::<f32>())
    }

    /// The definitions, in f64 and without tensors.
    fn reference(kind: LossKind, x: &[f32], y: &[f32]) -> f64 {
        let d = x.iter().zip(y).map(|(x, y)| f64::from(*x) - f64::from(*y));
        let n = x.len() as f64;
        match kind {
            LossKind::L1 => d.map(f64::abs).sum::<f64>() / n,
            LossKind::L2 => d.map(|d| d * d).sum::<f64>() / n,
            LossKind::L2Sum => d.map(|d| d * d).sum(),
            LossKind::Charbonnier { epsilon_squared } => {
                d.map(|d| (d * d + epsilon_squared).sqrt()).sum::<f64>() / n
            }
            LossKind::Ssim => 1.0 - reference_ssim(x, y),
        }
    }

    /// Mean SSIM with the window as one sum over rows and columns.
    fn reference_ssim(x: &[f32], y: &[f32]) -> f64 {
        let [b, d, h, w, c] = SHAPE;
        let pixels = (0..b * d * c).flat_map(|plane| (0..h * w).map(move |at| (plane, at)));
        let sum: f64 = pixels.map(|(plane, at)| reference_pixel([x, y], plane, at)).sum();
        sum / (b * d * c * h * w) as f64
    }

    fn reference_pixel([x, y]: [&[f32]; 2], plane: usize, at: usize) -> f64 {
        let [_, _, h, w, c] = SHAPE;
        let (row, column) = (at / w, at % w);
        let weights = gaussian().map(f64::from);
        let mut m = [0.0; 5];
        for (i, j) in (0..11).flat_map(|i| (0..11).map(move |j| (i, j))) {
            let inside = |from: usize, step: usize, size: usize| {
                (from + step).checked_sub(5).filter(|place| *place < size)
            };
            let (Some(r), Some(s)) = (inside(row, i, h), inside(column, j, w)) else { continue };
            let place = ((plane / c * h + r) * w + s) * c + plane % c;
            let (p, q) = (f64::from(x[place]), f64::from(y[place]));
            let terms = [p, q, p * p, q * q, p * q];
            m.iter_mut().zip(terms).for_each(|(m, term)| *m += weights[i] * weights[j] * term);
        }
        let [mx, my, xx, yy, xy] = m;
        let above = (2.0 * mx * my + 1e-4) * (2.0 * (xy - mx * my) + 9e-4);
        above / ((mx * mx + my * my + 1e-4) * (xx - mx * mx + yy - my * my + 9e-4))
    }

    #[test]
    fn losses_are_their_definitions() {
        let (x, y) = (pictures(1), pictures(2));
        for kind in KINDS {
            let found = number(&loss(kind, tensor(&x), tensor(&y)));
            let expected = reference(kind, &x, &y);
            assert!((found - expected).abs() <= 1e-5 * expected, "{kind:?}: {found}, {expected}");
        }
    }

    #[test]
    fn gradients_are_the_slopes_of_the_definitions() {
        let (x, y) = (pictures(1), pictures(2));
        for kind in KINDS {
            let input = tensor(&x).require_grad();
            let grads = loss(kind, input.clone(), tensor(&y)).backward();
            let found: Vec<f32> =
                input.grad(&grads).expect("a gradient").into_data().try_to_vec().expect("floats");
            let largest = found.iter().fold(0.0_f32, |most, slope| most.max(slope.abs()));
            for at in [0, 100, 350, x.len() - 1] {
                let moved = |by: f32| {
                    let mut x = x.clone();
                    x[at] += by;
                    (x[at], reference(kind, &x, &y))
                };
                let ((a, below), (b, above)) = (moved(-1e-3), moved(1e-3));
                let slope = (above - below) / (f64::from(b) - f64::from(a));
                let off = (f64::from(found[at]) - slope).abs();
                assert!(off <= 2e-3 * f64::from(largest), "{kind:?} at {at}: {off}");
            }
        }
    }

    #[test]
    fn the_loss_of_equal_pictures_is_least() {
        let x = pictures(1);
        for kind in KINDS {
            let found = number(&loss(kind, tensor(&x), tensor(&x)));
            let least = if let LossKind::Charbonnier { epsilon_squared } = kind {
                epsilon_squared.sqrt()
            } else {
                0.0
            };
            assert!((found - least).abs() < 1e-6, "{kind:?}: {found}");
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let (x, y) = (pictures(1), pictures(2));
        let half = |x: &Tensor<5>, i| x.clone().narrow(0, i, 1);
        for kind in KINDS {
            let (x, y) = (tensor(&x), tensor(&y));
            let whole = number(&loss(kind, x.clone(), y.clone()));
            let parts = (0..2).map(|i| number(&loss(kind, half(&x, i), half(&y, i))));
            let sum = parts.sum::<f64>() * share(kind, 2);
            assert!((sum - whole).abs() <= 1e-6 * whole, "{kind:?}: {sum}, {whole}");
        }
    }
}
