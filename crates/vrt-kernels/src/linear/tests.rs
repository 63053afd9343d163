use proptest::prelude::*;
use vrt_testing::Random;

use super::*;

struct Case {
    geometry: LinearGeometry,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    grad: Vec<f32>,
}

fn case(rows: usize, inputs: usize, outputs: usize) -> Case {
    let mut random = Random::new((rows * 31 + inputs * 7 + outputs) as u64);
    Case {
        geometry: LinearGeometry { rows, inputs, outputs },
        x: random.values(rows * inputs, 1.0),
        weight: random.values(outputs * inputs, 1.0),
        bias: random.values(outputs, 1.0),
        grad: random.values(rows * outputs, 1.0),
    }
}

fn close(actual: f32, expected: f64, terms: usize) -> bool {
    (f64::from(actual) - expected).abs() <= f64::from(f32::EPSILON) * 2.0 * (terms + 2) as f64
}

proptest! {
    #[test]
    fn equals_the_formula_and_its_derivatives(
        rows in 1_usize..40, inputs in 1_usize..20, outputs in 1_usize..20,
    ) {
        let Case { geometry, x, weight, bias, grad } = case(rows, inputs, outputs);
        let mut out = vec![f32::NAN; rows * outputs];
        linear(&geometry, &x, &weight, &bias, &mut out);
        let (mut gx, mut gw, mut gb) =
            (vec![f32::NAN; x.len()], vec![f32::NAN; weight.len()], vec![f32::NAN; outputs]);
        let wanted =
            LinearGradients { x: Some(&mut gx), weight: Some(&mut gw), bias: Some(&mut gb) };
        linear_backward(&geometry, &x, &weight, &grad, wanted);
        let product = |a: f32, b: f32| f64::from(a) * f64::from(b);
        for i in 0..rows {
            for o in 0..outputs {
                let sum: f64 =
                    (0..inputs).map(|c| product(x[i * inputs + c], weight[o * inputs + c])).sum();
                prop_assert!(close(out[i * outputs + o], sum + f64::from(bias[o]), inputs));
            }
            for c in 0..inputs {
                let sum: f64 = (0..outputs)
                    .map(|o| product(grad[i * outputs + o], weight[o * inputs + c]))
                    .sum();
                prop_assert!(close(gx[i * inputs + c], sum, outputs));
            }
        }
        for o in 0..outputs {
            let sum: f64 = (0..rows).map(|i| f64::from(grad[i * outputs + o])).sum();
            prop_assert!(close(gb[o], sum, rows));
            for c in 0..inputs {
                let sum: f64 =
                    (0..rows).map(|i| product(grad[i * outputs + o], x[i * inputs + c])).sum();
                prop_assert!(close(gw[o * inputs + c], sum, rows));
            }
        }
    }
}

#[test]
fn many_rows_are_cut_into_tasks_that_meet() {
    let Case { geometry, x, weight, bias, .. } = case(3 * TASK_ROWS + 5, 3, 2);
    let mut whole = vec![0.0; geometry.rows * 2];
    linear(&geometry, &x, &weight, &bias, &mut whole);
    for (row, (x, out)) in x.chunks_exact(3).zip(whole.chunks_exact(2)).enumerate() {
        let mut alone = [0.0; 2];
        linear(&LinearGeometry { rows: 1, ..geometry }, x, &weight, &bias, &mut alone);
        assert!(
            (alone[0] - out[0]).abs() < 1e-6 && (alone[1] - out[1]).abs() < 1e-6,
            "row {row}: {alone:?} and {out:?}"
        );
    }
}
