//! Attention in shifted windows, with bias and mask, and no logits in memory; see
//! [`window_attention`](crate::window_attention).
//!
//! A unit owns a query (or, for the gradients of keys and values, a key); a cube's units read the
//! keys of their window together, some at a time. The softmax is taken as the keys go by: the
//! largest logit so far is what all are measured by, and what was summed by a smaller one is
//! scaled. In 16 bits matrix units multiply, see [`matrix`].

use burn::tensor::{bf16, f16};
use burn_cubecl::tensor::CubeTensor;

use super::launch::{BUSY, buffer, cubes, empty, packed, zeros};
use super::sum::{Exchanged, Native, adds_floats};
use super::units::{Format, MatrixUnits};
use crate::window_attention::WindowGeometry;

mod backward;
mod forward;
mod matrix;
mod window;

use window::{Attention, MapLaunch};

/// See [`ops::window_attention`](crate::ops::window_attention) and, without a table,
/// [`ops::mutual_attention`](crate::ops::mutual_attention).
pub(crate) fn forward(
    qkv: CubeTensor,
    table: Option<CubeTensor>,
    geometry: &WindowGeometry,
) -> CubeTensor {
    let (qkv, table) = (packed(qkv), table.map(packed));
    let kind = checked(&qkv, table.as_ref(), geometry);
    let [batch, d, h, w, _] = qkv.meta.shape().dims();
    let out = empty(&qkv, [batch, d, h, w, geometry.channels]);
    if let Some(shape) = by_units(&qkv, &kind, false) {
        by_matrices([&qkv, table.as_ref().unwrap_or(&qkv), &out], geometry, kind, shape);
        return out;
    }
    let (count, cube) = cubes(&qkv, kind.query_cubes(geometry), kind.units());
    // SAFETY: the sizes were checked. A cube below the count belongs to one window and head; its
    // units read and write at places of tokens of that window, which lie in the map.
    unsafe {
        forward::attend::launch_unchecked(
            &qkv.client,
            count,
            cube,
            buffer(&qkv),
            buffer(table.as_ref().unwrap_or(&qkv)),
            buffer(&out),
            map(geometry),
            kind,
        );
    }
    out
}

/// What matrix units multiply at a time, where they multiply in the precision of now.
fn by_units(qkv: &CubeTensor, kind: &Attention, gradients: bool) -> Option<matrix::Shape> {
    matrix::Shape::new(MatrixUnits::now(qkv)?, kind, qkv.client.properties(), gradients)
}

fn by_matrices(
    [qkv, table, out]: [&CubeTensor; 3],
    geometry: &WindowGeometry,
    kind: Attention,
    shape: matrix::Shape,
) {
    let (count, cube) = cubes(qkv, shape.cubes(&kind, geometry), shape.cube());
    let kernel = match shape.format() {
        Format::F16 => matrix::found::attend::launch_unchecked::<f16>,
        Format::Bf16 => matrix::found::attend::launch_unchecked::<bf16>,
    };
    // SAFETY: as in `forward`.
    unsafe {
        kernel(
            &qkv.client,
            count,
            cube,
            buffer(qkv),
            buffer(table),
            buffer(out),
            map(geometry),
            kind,
            shape,
        );
    }
}

/// Gradients of queries, keys and values and of the table, where they are wanted.
pub(crate) fn backward(
    qkv: CubeTensor,
    table: Option<CubeTensor>,
    grad: CubeTensor,
    geometry: &WindowGeometry,
    [of_qkv, of_table]: [bool; 2],
) -> [Option<CubeTensor>; 2] {
    let (qkv, table, grad) = (packed(qkv), table.map(packed), packed(grad));
    let kind = checked(&qkv, table.as_ref(), geometry);
    let grads = empty(&qkv, qkv.meta.shape().clone());
    let windows = geometry.batch * geometry.windows();
    let sums = empty(&qkv, [windows, geometry.heads, geometry.tokens(), 2]);
    let tensors = [&qkv, table.as_ref().unwrap_or(&qkv), &grad, &grads, &sums];
    let shape = by_units(&qkv, &kind, true);
    match shape {
        Some(shape) => gradients_by_matrices(tensors, geometry, kind, shape),
        None => gradients(tensors, geometry, kind),
    }
    let of_table = table.filter(|_| of_table);
    let of_table = of_table.map(|table| {
        let out = zeros(&table, table.meta.shape().clone());
        let tensors = [&qkv, &table, &grad, &sums, &out];
        match shape {
            Some(shape) => table_by_matrices(tensors, geometry, kind, shape),
            None => of_table_alone(tensors, geometry, kind),
        }
        out
    });
    [of_qkv.then_some(grads), of_table]
}

/// The gradients of queries, with their sums, then those of keys and values.
fn gradients(
    [qkv, table, grad, grads, sums]: [&CubeTensor; 5],
    geometry: &WindowGeometry,
    kind: Attention,
) {
    let (count, cube) = cubes(qkv, kind.query_cubes(geometry), kind.units());
    // SAFETY: as in `forward`; a query's sums lie at its own number in its window and head.
    unsafe {
        backward::of_queries::launch_unchecked(
            &qkv.client,
            count.clone(),
            cube,
            buffer(qkv),
            buffer(table),
            buffer(grad),
            buffer(grads),
            buffer(sums),
            map(geometry),
            kind,
        );
    }
    // SAFETY: as before, for keys.
    unsafe {
        backward::of_keys::launch_unchecked(
            &qkv.client,
            count,
            cube,
            buffer(qkv),
            buffer(table),
            buffer(grad),
            buffer(sums),
            buffer(grads),
            map(geometry),
            kind,
        );
    }
}

fn gradients_by_matrices(
    [qkv, table, grad, grads, sums]: [&CubeTensor; 5],
    geometry: &WindowGeometry,
    kind: Attention,
    shape: matrix::Shape,
) {
    let (count, cube) = cubes(qkv, shape.cubes(&kind, geometry), shape.cube());
    let of_queries = match shape.format() {
        Format::F16 => matrix::gradient::of_queries::launch_unchecked::<f16>,
        Format::Bf16 => matrix::gradient::of_queries::launch_unchecked::<bf16>,
    };
    // SAFETY: as in `gradients`.
    unsafe {
        of_queries(
            &qkv.client,
            count.clone(),
            cube,
            buffer(qkv),
            buffer(table),
            buffer(grad),
            buffer(grads),
            buffer(sums),
            map(geometry),
            kind,
            shape,
        );
    }
    let of_keys = match shape.format() {
        Format::F16 => matrix::gradient::of_keys::launch_unchecked::<f16>,
        Format::Bf16 => matrix::gradient::of_keys::launch_unchecked::<bf16>,
    };
    // SAFETY: as before, for keys.
    unsafe {
        of_keys(
            &qkv.client,
            count,
            cube,
            buffer(qkv),
            buffer(table),
            buffer(grad),
            buffer(sums),
            buffer(grads),
            map(geometry),
            kind,
            shape,
        );
    }
}

/// The gradient of the table, from that of the output and the sums of queries.
fn of_table_alone(
    [qkv, table, grad, sums, out]: [&CubeTensor; 5],
    geometry: &WindowGeometry,
    kind: Attention,
) {
    let (count, cube) = cubes(qkv, kind.pair_cubes(), backward::PAIRS * backward::PAIRS);
    let kernel = if adds_floats(qkv) {
        backward::of_table::launch_unchecked::<Native>
    } else {
        backward::of_table::launch_unchecked::<Exchanged>
    };
    // SAFETY: the sizes were checked. A cube below the count belongs to one head and some pairs of
    // tokens; it reads at places of those tokens in every window, and adds to rows of the table
    // that pairs of tokens of a window have.
    unsafe {
        kernel(
            &qkv.client,
            count,
            cube,
            buffer(qkv),
            buffer(table),
            buffer(grad),
            buffer(sums),
            buffer(out),
            map(geometry),
            geometry.batch * geometry.windows(),
            kind,
        );
    }
}

fn table_by_matrices(
    [qkv, table, grad, sums, out]: [&CubeTensor; 5],
    geometry: &WindowGeometry,
    kind: Attention,
    shape: matrix::Shape,
) {
    let windows = geometry.batch * geometry.windows();
    let parts = BUSY.div_ceil(shape.pair_cubes(&kind)).min(windows);
    let of_part = windows.div_ceil(parts);
    let (count, cube) = cubes(qkv, shape.pair_cubes(&kind) * parts, shape.cube());
    let kernel = match (shape.format(), adds_floats(qkv)) {
        (Format::F16, true) => matrix::gradient::of_table::launch_unchecked::<f16, Native>,
        (Format::F16, false) => matrix::gradient::of_table::launch_unchecked::<f16, Exchanged>,
        (Format::Bf16, true) => matrix::gradient::of_table::launch_unchecked::<bf16, Native>,
        (Format::Bf16, false) => matrix::gradient::of_table::launch_unchecked::<bf16, Exchanged>,
    };
    // SAFETY: as in `of_table_alone`; cubes of further windows add to the same rows.
    unsafe {
        kernel(
            &qkv.client,
            count,
            cube,
            buffer(qkv),
            buffer(table),
            buffer(grad),
            buffer(sums),
            buffer(out),
            map(geometry),
            of_part,
            kind,
            shape,
        );
    }
}

fn map(geometry: &WindowGeometry) -> MapLaunch {
    let ([d, h, w], [shift_d, shift_h, shift_w]) = (geometry.map, geometry.shift);
    let cubes = geometry.batch * geometry.windows();
    MapLaunch::new(d, h, w, shift_d, shift_h, shift_w, cubes)
}

fn checked(qkv: &CubeTensor, table: Option<&CubeTensor>, geometry: &WindowGeometry) -> Attention {
    geometry.check(qkv.meta.shape().num_elements(), geometry.out_len());
    if let Some(table) = table {
        let len = table.meta.shape().num_elements();
        assert_eq!(len, geometry.table_len(), "window_attention: the table does not fit");
        geometry.check_bias();
    } else {
        assert_eq!(geometry.window[0], 2, "mutual attention is that of two frames: {geometry:?}");
    }
    Attention::new(geometry, table.is_none())
}
