use proptest::prelude::*;
use vrt_testing::Random;

use super::*;
use crate::element::Pair;

fn check<E: Element>([rows, m, n]: [usize; 3], seed: u64, bound: f32) -> Result<(), TestCaseError> {
    let mut random = Random::new(seed);
    let (left, right) = (random.values(rows * m, 1.0), random.values(rows * n, 1.0));
    let before = random.values(m * n, 1.0);
    for level in Level::available() {
        let mut sum = before.clone();
        add_outer::<E>(level, [Table::dense(&left, m), Table::dense(&right, n)], &mut sum);
        for (at, sum) in sum.iter().enumerate() {
            let (i, j) = (at / n, at % n);
            let products = (0..rows).map(|k| f64::from(left[k * m + i] * right[k * n + j]));
            let expected = f64::from(before[at]) + products.sum::<f64>();
            let bound = f64::from(bound) * (rows as f64 + 1.0).sqrt();
            let close = (f64::from(*sum) - expected).abs() <= bound;
            prop_assert!(close, "{level}: ({i}, {j}) is {sum}, not {expected}");
        }
    }
    Ok(())
}

#[test]
fn rows_may_overlap() {
    let values: Vec<f32> = (0..40).map(|i| (i * i % 17) as f32).collect();
    let left = Table { values: &values, rows: 11, len: 10, stride: 3 };
    let right = Table { values: &values[2..], rows: 11, len: 7, stride: 3 };
    let term = |k: usize, i: usize, j: usize| values[3 * k + i] * values[2 + 3 * k + j];
    let expected: Vec<f32> =
        (0..70).map(|at| (0..11).map(|k| term(k, at / 7, at % 7)).sum()).collect();
    for level in Level::available() {
        // Small whole numbers are what they are in 8 bits, too.
        let (mut sum, mut rounded) = (vec![0.0; 70], vec![0.0; 70]);
        add_outer::<f32>(level, [left, right], &mut sum);
        add_outer::<Pair>(level, [left, right], &mut rounded);
        assert_eq!([&sum, &rounded], [&expected; 2], "{level}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn equals_the_sum_of_products(
        rows in 0_usize..300, m in 1_usize..40, n in 1_usize..80, seed: u64,
    ) {
        check::<f32>([rows, m, n], seed, 2e-6)?;
        // Factors of 8 bits: a product is off by up to 0.8 %, most by less.
        check::<Pair>([rows, m, n], seed, 2e-2)?;
    }
}
