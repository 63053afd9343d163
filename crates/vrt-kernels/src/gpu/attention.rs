//! Attention in shifted windows, with bias and mask, and no logits in memory; see
//! [`window_attention`](crate::window_attention).
//!
//! A unit owns a query (or, for the gradients of keys and values, a key); a cube's units read the
//! keys of their window together, some at a time. The softmax is taken as the keys go by: the
//! largest logit so far is what all are measured by, and what was summed by a smaller one is
//! scaled. In 16 bits matrix units multiply, forward; the gradients are `f32` still, from logits that
//! are not rounded.

use burn::tensor::{bf16, f16};
use burn_cubecl::tensor::CubeTensor;

use super::launch::{buffer, cubes, empty, packed, zeros};
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
    if let Some(units) = MatrixUnits::now(&qkv)
        && let Some(shape) = matrix::Shape::new(units, &kind, qkv.client.properties())
    {
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

fn by_matrices(
    [qkv, table, out]: [&CubeTensor; 3],
    geometry: &WindowGeometry,
    kind: Attention,
    shape: matrix::Shape,
) {
    let (count, cube) = cubes(qkv, shape.cubes(&kind, geometry), shape.cube());
    let kernel = match shape.format() {
        Format::F16 => matrix::attend::launch_unchecked::<f16>,
        Format::Bf16 => matrix::attend::launch_unchecked::<bf16>,
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
    let bias = || buffer(table.as_ref().unwrap_or(&qkv));
    let (count, cube) = cubes(&qkv, kind.query_cubes(geometry), kind.units());
    // SAFETY: as in `forward`; a query's sums lie at its own number in its window and head.
    unsafe {
        backward::of_queries::launch_unchecked(
            &qkv.client,
            count.clone(),
            cube,
            buffer(&qkv),
            bias(),
            buffer(&grad),
            buffer(&grads),
            buffer(&sums),
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
            buffer(&qkv),
            bias(),
            buffer(&grad),
            buffer(&sums),
            buffer(&grads),
            map(geometry),
            kind,
        );
    }
    let of_table = table.filter(|_| of_table);
    let of_table = of_table.map(|table| table_gradient(&qkv, &table, [&grad, &sums], geometry));
    [of_qkv.then_some(grads), of_table]
}

/// The gradient of the table, from that of the output and the sums of queries.
fn table_gradient(
    qkv: &CubeTensor,
    table: &CubeTensor,
    [grad, sums]: [&CubeTensor; 2],
    geometry: &WindowGeometry,
) -> CubeTensor {
    let out = zeros(table, table.meta.shape().clone());
    let kind = Attention::new(geometry, false);
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
            buffer(&out),
            map(geometry),
            geometry.batch * geometry.windows(),
            kind,
        );
    }
    out
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
