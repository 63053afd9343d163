use vrt_testing::Random;

use super::*;

/// Φ by Simpson's rule on the density, in f64.
fn exact(g: f64) -> f64 {
    let density = |t: f64| (-0.5 * t * t).exp() / std::f64::consts::TAU.sqrt();
    let steps = 2000;
    let h = g / steps as f64;
    let inner: f64 =
        (1..steps).map(|i| if i % 2 == 1 { 4.0 } else { 2.0 } * density(i as f64 * h)).sum();
    0.5 + h / 3.0 * (density(0.0) + inner + density(g))
}

#[test]
fn every_level_is_within_rounding_of_the_integral() {
    let gate: Vec<f32> = (-400..=400).map(|i| i as f32 / 50.0).collect();
    let x = vec![1.0; gate.len()];
    for level in Level::available() {
        let mut out = vec![f32::NAN; gate.len()];
        forward(level, &gate, &x, &mut out);
        for (g, out) in gate.iter().zip(&out) {
            let g = f64::from(*g);
            let expected = g * exact(g);
            let bound = 2e-7 * g.abs() + 1e-9;
            assert!((f64::from(*out) - expected).abs() <= bound, "{level}: GELU({g}) is {out}");
        }
    }
}

#[test]
fn gradients_are_slopes() {
    let mut random = Random::new(5);
    let n = 3 * TASK_VALUES / 2;
    let (gate, x, grad) = (random.values(n, 4.0), random.values(n, 2.0), random.values(n, 1.0));
    let (mut of_gate, mut of_x) = (vec![f32::NAN; n], vec![f32::NAN; n]);
    gated_backward(&gate, &x, &grad, Some(&mut of_gate), Some(&mut of_x));
    for i in (0..n).step_by(97) {
        let [g, x, grad] = [gate[i], x[i], grad[i]].map(f64::from);
        let step = 1e-4;
        let gelu = |g: f64| g * exact(g);
        let slope = (gelu(g + step) - gelu(g - step)) / (2.0 * step);
        assert!((f64::from(of_gate[i]) - slope * x * grad).abs() < 2e-6, "gate {g}");
        assert!((f64::from(of_x[i]) - gelu(g) * grad).abs() < 2e-6, "value at gate {g}");
    }
}

#[test]
fn extreme_gates_stay_finite() {
    let gate = [f32::MAX, f32::MIN, 1e20, -1e20, 0.0];
    let mut out = [f32::NAN; 5];
    gated(&gate, &[1.0; 5], &mut out);
    assert_eq!(out, [f32::MAX, 0.0, 1e20, 0.0, 0.0]);
}
