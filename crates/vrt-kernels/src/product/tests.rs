use proptest::prelude::*;
use vrt_testing::Random;

use super::tile::assert_inside;
use super::*;
use crate::element::Pair;

/// The value that a product sees.
fn seen<E: Element>(value: f32) -> f32 {
    if E::TERMS == 1 { value } else { half::bf16::from_f32(value).to_f32() }
}

/// Sizes of a product, and a seed.
#[derive(Clone, Copy, Debug)]
struct Case {
    count: usize,
    columns: usize,
    parts: usize,
    part_len: usize,
    gap: usize,
    per_line: usize,
    matrix: bool,
    seed: u64,
}

/// Products of rows in parts equal the sum of products; all strides are multiples of `TERMS`.
fn check_parts<E: Element>(case: Case) -> Result<(), TestCaseError> {
    let Case { count, columns, parts, gap, per_line, .. } = case;
    let part_len = case.part_len * E::TERMS;
    let depth = parts * part_len;
    let mut random = Random::new(case.seed);
    let line = 40 * E::TERMS;
    let values = random.values(line * (count + 1) + parts * (part_len + gap * E::TERMS), 1.0);
    let stride = case.part_len.min(5);
    let part_stride = case.part_len + gap;
    let weight = random.values(columns * depth, 1.0);
    let bias = random.values(columns, 1.0);
    let begin = random.values(count * columns, 1.0);
    for level in Level::available() {
        let mut elements = vec![E::default(); E::units(values.len())];
        E::write(level, &values, &mut elements);
        let rows = Rows {
            values: elements.as_slice(),
            count,
            per_line,
            line_stride: 40,
            stride,
            parts,
            part_len: case.part_len,
            part_stride,
        };
        let packed = Packed::published(level, &weight, &bias, (0, 1.0));
        let right = packed.right();
        let start = if case.matrix { Start::Matrix(&begin, columns) } else { Start::Bias };
        let out_stride = columns + gap;
        let mut out = vec![7.0; count * out_stride];
        multiply(level, Product { rows, right, start }, &mut out, out_stride);
        for (at, value) in out.iter().enumerate() {
            let (i, j) = (at / out_stride, at % out_stride);
            if j >= columns {
                prop_assert_eq!(*value, 7.0, "between rows");
                continue;
            }
            let mut expected = if case.matrix { begin[i * columns + j] } else { bias[j] };
            for k in 0..depth {
                let part = k / part_len * part_stride * E::TERMS;
                let [start] = rows.starts(i, 1);
                let from = start * E::TERMS + part + k % part_len;
                expected += seen::<E>(values[from]) * seen::<E>(weight[j * depth + k]);
            }
            prop_assert!((value - expected).abs() < 3e-5, "{level}: ({i}, {j})");
        }
    }
    Ok(())
}

/// Rows of any length, also odd ones, `gap` values apart.
fn check_rows<E: Element>(case: Case) -> Result<(), TestCaseError> {
    let Case { count, columns, part_len: depth, gap, .. } = case;
    let mut random = Random::new(case.seed);
    let rows = random.values(count * (depth + gap), 1.0);
    let weight = random.values(columns * depth, 1.0);
    let bias = random.values(columns, 1.0);
    for level in Level::available() {
        let packed = Packed::<E>::published(level, &weight, &bias, (columns / 2, 2.0));
        let mut rounded = vec![E::default(); packed.rounded_len(count)];
        let mut out = vec![f32::NAN; count * columns];
        packed.apply(&rows, count, [depth + gap, columns], &mut rounded, &mut out);
        for (at, value) in out.iter().enumerate() {
            let (i, j) = (at / columns, at % columns);
            let row = &rows[i * (depth + gap)..][..depth];
            let weights = weight[j * depth..][..depth].iter();
            let products = row.iter().zip(weights).map(|(a, b)| seen::<E>(*a) * seen::<E>(*b));
            let factor = if j < columns / 2 { 2.0 } else { 1.0 };
            let expected = factor * (bias[j] + products.sum::<f32>());
            prop_assert!((value - expected).abs() < 3e-5, "{level}: ({i}, {j})");
        }
    }
    Ok(())
}

/// A matrix and its transpose fill panels alike, whatever those held before.
fn check_packing<E: Element>(depth: usize, columns: usize, seed: u64) -> Result<(), TestCaseError> {
    let values = Random::new(seed).values(depth * columns, 1.0);
    let transposed: Vec<f32> =
        (0..depth * columns).map(|i| values[i % depth * columns + i / depth]).collect();
    for level in Level::available() {
        let sizes = PanelSizes::new(level, [depth, columns]);
        let mut junk = vec![E::default(); sizes.len::<E>()];
        E::write(level, &vec![5.0; junk.len() * E::TERMS], &mut junk);
        let [mut a, mut b] = [junk.clone(), junk];
        sizes.pack(level, &values, columns, &mut a);
        let mut rounded = vec![E::default(); E::rounded_len([columns, depth])];
        let rows = E::rows(level, &transposed, [columns, depth], depth, &mut rounded);
        sizes.pack_transposed(rows, &mut b);
        prop_assert_eq!(&a, &b);
    }
    Ok(())
}

prop_compose! {
    fn cases()(
        count in 1_usize..70, columns in 1_usize..70, parts in 1_usize..4,
        part_len in 1_usize..20, gap in 0_usize..4, per_line in 1_usize..8, matrix: bool,
        seed: u64,
    ) -> Case {
        Case { count, columns, parts, part_len, gap, per_line, matrix, seed }
    }
}

proptest! {
    #[test]
    fn rows_in_parts_equal_the_sum_of_products(case in cases()) {
        check_parts::<f32>(case)?;
        check_parts::<Pair>(case)?;
    }

    #[test]
    fn rows_of_any_length_equal_the_sum_of_products(case in cases()) {
        check_rows::<f32>(case)?;
        check_rows::<Pair>(case)?;
    }

    #[test]
    fn a_matrix_and_its_transpose_pack_alike(
        depth in 1_usize..20, columns in 1_usize..70, seed: u64,
    ) {
        check_packing::<f32>(depth, columns, seed)?;
        check_packing::<Pair>(depth, columns, seed)?;
    }
}

/// The product of twelve rows of three values, where a slice of those it takes is one element short.
fn cut_short(short: usize) {
    let sizes = PanelSizes::new(Level::Portable, [3, 8]);
    let [rows, panels, start, out] = [36, sizes.len::<f32>(), 12 * 8, 12 * 8];
    let mut lens = [rows, panels, start, out];
    lens[short] -= 1;
    let [values, panels, start, mut out] = lens.map(|len| vec![1.0; len]);
    let right = Right { sizes, panels: &panels, bias: &[] };
    let start = Start::Matrix(&start, 8);
    let product = Product { rows: Rows::dense(&values, [12, 3]), right, start };
    multiply(Level::Portable, product, &mut out, 8);
}

#[test]
#[should_panic(expected = "product: a row from 33 on, 1 pieces of 3, 0 apart, of 35 elements")]
fn rows_that_end_early_are_refused() {
    cut_short(0);
}

#[test]
#[should_panic(expected = "product: a tile of 4 rows, 8 apart, in 31 values")]
fn a_start_that_ends_early_is_refused() {
    cut_short(2);
}

#[test]
#[should_panic(expected = "product: a tile of 4 rows, 8 apart, in 31 values")]
fn an_output_that_ends_early_is_refused() {
    cut_short(3);
}

#[test]
#[should_panic(expected = "product: a tile of 4 rows")]
fn strides_beyond_all_memory_are_refused() {
    assert_inside::<Portable, 2, 4>(32, usize::MAX / 2);
}
