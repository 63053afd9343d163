//! Reads a feature map along a flow field; see [`warp`](crate::warp).

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::bilinear::{Corners, Pixel, around, pixel};
use super::launch::{buffer, each, empty, packed, zeros};
use super::sum::{Exchanged, Native, Sum, adds_floats};
use crate::warp::WarpMode;

/// Rows, columns and channels of a map.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Map {
    height: usize,
    width: usize,
    channels: usize,
}

/// Where a pixel reads: its frame, and the place in it.
#[derive(CubeType, Clone, Copy)]
struct Place {
    frame: usize,
    x: f32,
    y: f32,
}

#[cube]
fn place(at: usize, flow: &[f32], map: &Map) -> Place {
    let size = map.height * map.width;
    let (column, row) = (at % map.width, at / map.width % map.height);
    Place {
        frame: at / size * size,
        x: f32::cast_from(column) + flow[2 * at],
        y: f32::cast_from(row) + flow[2 * at + 1],
    }
}

/// The nearest place of a map; what is not a number stays that.
#[cube]
fn onto(x: f32, size: usize) -> f32 {
    let last = f32::cast_from(size) - 1.0f32;
    select(x < 0.0f32, 0.0f32, select(x > last, last, x))
}

/// 1 where a place is strictly inside the map along an axis, so that moving it changes the value.
#[cube]
fn free(x: f32, size: usize) -> f32 {
    let inside = x > 0.0f32 && x < f32::cast_from(size) - 1.0f32;
    select(inside, 1.0f32, 0.0f32)
}

/// The pixels around a place, of the map's nearest place if `border`.
#[cube]
fn corners(place: &Place, map: &Map, #[comptime] border: bool) -> Corners {
    let to_x = if border { onto(place.x, map.width) } else { place.x };
    let to_y = if border { onto(place.y, map.height) } else { place.y };
    around(to_x, to_y, map.height, map.width)
}

/// Neighbour `part` of a place: the four of [`WarpMode::Nearest4`], in their order.
#[cube]
fn neighbour(place: &Place, part: usize, map: &Map) -> Pixel {
    let corners = around(place.x, place.y, map.height, map.width);
    let near = corners.is_near();
    let (x, y) = (select(near, place.x, -4.0f32), select(near, place.y, -4.0f32));
    let column = select(part < 2, x.floor(), x.ceil());
    let row = select(part % 2 == 0, y.floor(), y.ceil());
    pixel(i32::cast_from(column), i32::cast_from(row), map.height, map.width)
}

#[cube(launch_unchecked)]
fn warp_values(
    x: &[f32],
    flow: &[f32],
    out: &mut [f32],
    map: &Map,
    count: usize,
    #[comptime] mode: WarpMode,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let parts = comptime!(mode.samples());
    let channel = ABSOLUTE_POS % map.channels;
    let at = ABSOLUTE_POS / (map.channels * parts);
    let place = place(at, flow, map);
    let mut value = 0.0f32;
    if comptime!(mode == WarpMode::Nearest4) {
        let part = ABSOLUTE_POS / map.channels % parts;
        let pixel = neighbour(&place, part, map);
        value = pixel.inside * x[(place.frame + pixel.at) * map.channels + channel];
    } else {
        let corners = corners(&place, map, comptime!(mode == WarpMode::BilinearBorder));
        #[unroll]
        for index in 0..4u32 {
            let pixel = corners.pixel(index, map.height, map.width);
            let there = x[(place.frame + pixel.at) * map.channels + channel];
            value += corners.weight(index) * pixel.inside * there;
        }
    }
    out[ABSOLUTE_POS] = value;
}

/// The gradient of the flow: a unit for each pixel.
#[cube(launch_unchecked)]
fn flow_gradient(
    x: &[f32],
    flow: &[f32],
    grad: &[f32],
    out: &mut [f32],
    map: &Map,
    count: usize,
    #[comptime] border: bool,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let place = place(ABSOLUTE_POS, flow, map);
    let corners = corners(&place, map, border);
    let mut along_x = 0.0f32;
    let mut along_y = 0.0f32;
    #[unroll]
    for index in 0..4u32 {
        let pixel = corners.pixel(index, map.height, map.width);
        let (slope_x, slope_y) = corners.slopes(index);
        let start = (place.frame + pixel.at) * map.channels;
        let mut sum = 0.0f32;
        for channel in 0..map.channels {
            sum += grad[ABSOLUTE_POS * map.channels + channel] * x[start + channel];
        }
        along_x += slope_x * pixel.inside * sum;
        along_y += slope_y * pixel.inside * sum;
    }
    if border {
        along_x *= free(place.x, map.width);
        along_y *= free(place.y, map.height);
    }
    out[2 * ABSOLUTE_POS] = along_x;
    out[2 * ABSOLUTE_POS + 1] = along_y;
}

/// The gradient of the map: a unit for each value of the output's.
#[cube(launch_unchecked)]
fn map_gradient<S: Sum>(
    flow: &[f32],
    grad: &[f32],
    out: &[Atomic<S::Cell>],
    map: &Map,
    count: usize,
    #[comptime] mode: WarpMode,
) {
    if ABSOLUTE_POS >= count {
        terminate!();
    }
    let parts = comptime!(mode.samples());
    let channel = ABSOLUTE_POS % map.channels;
    let at = ABSOLUTE_POS / (map.channels * parts);
    let place = place(at, flow, map);
    let grad = grad[ABSOLUTE_POS];
    if comptime!(mode == WarpMode::Nearest4) {
        let part = ABSOLUTE_POS / map.channels % parts;
        let pixel = neighbour(&place, part, map);
        if pixel.inside > 0.0f32 {
            S::add(out, (place.frame + pixel.at) * map.channels + channel, grad);
        }
    } else {
        let corners = corners(&place, map, comptime!(mode == WarpMode::BilinearBorder));
        #[unroll]
        for index in 0..4u32 {
            let pixel = corners.pixel(index, map.height, map.width);
            let weight = corners.weight(index) * pixel.inside;
            if weight > 0.0f32 {
                S::add(out, (place.frame + pixel.at) * map.channels + channel, weight * grad);
            }
        }
    }
}

/// The sizes of a map `[n, h, w, c]`, as kernels take them.
fn sizes(x: &CubeTensor) -> (MapLaunch, usize) {
    let [n, height, width, channels] = x.meta.shape().dims();
    (MapLaunch::new(height, width, channels), n * height * width)
}

/// See [`ops::warp`](crate::ops::warp).
pub(crate) fn forward(x: CubeTensor, flow: CubeTensor, mode: WarpMode) -> CubeTensor {
    let [x, flow] = checked([x, flow]);
    let [n, h, w, c] = x.meta.shape().dims();
    let out = empty(&x, [n, h, w, mode.samples() * c]);
    let (map, pixels) = sizes(&x);
    let units = pixels * c * mode.samples();
    let (cubes, cube) = each(&x, units);
    // SAFETY: a unit below the count writes its own value of the output, and reads pixels that are
    // moved into the map and the flow of its own pixel; all four are packed.
    unsafe {
        warp_values::launch_unchecked(
            &x.client,
            cubes,
            cube,
            buffer(&x),
            buffer(&flow),
            buffer(&out),
            map,
            units,
            mode,
        );
    }
    out
}

/// Gradients of the map and the flow, where they are wanted.
pub(crate) fn backward(
    inputs: [CubeTensor; 2],
    grad: CubeTensor,
    mode: WarpMode,
    [of_x, of_flow]: [bool; 2],
) -> [Option<CubeTensor>; 2] {
    let ([x, flow], grad) = (checked(inputs), packed(grad));
    [
        of_x.then(|| backward_of_map(&x, &flow, &grad, mode)),
        of_flow.then(|| backward_of_flow(&x, &flow, &grad, mode)),
    ]
}

fn backward_of_map(
    x: &CubeTensor,
    flow: &CubeTensor,
    grad: &CubeTensor,
    mode: WarpMode,
) -> CubeTensor {
    let out = zeros(x, x.meta.shape().clone());
    let (map, pixels) = sizes(x);
    let [.., channels]: [usize; 4] = x.meta.shape().dims();
    let units = pixels * channels * mode.samples();
    let (cubes, cube) = each(x, units);
    let kernel = if adds_floats(x) {
        map_gradient::launch_unchecked::<Native>
    } else {
        map_gradient::launch_unchecked::<Exchanged>
    };
    // SAFETY: a unit below the count reads its own value of the gradient and the flow of its own
    // pixel, and adds to pixels that are moved into the map; all three are packed.
    unsafe {
        kernel(&x.client, cubes, cube, buffer(flow), buffer(grad), buffer(&out), map, units, mode);
    }
    out
}

fn backward_of_flow(
    x: &CubeTensor,
    flow: &CubeTensor,
    grad: &CubeTensor,
    mode: WarpMode,
) -> CubeTensor {
    if mode == WarpMode::Nearest4 {
        return zeros(flow, flow.meta.shape().clone());
    }
    let out = empty(flow, flow.meta.shape().clone());
    let (map, pixels) = sizes(x);
    let (cubes, cube) = each(x, pixels);
    // SAFETY: a unit below the count writes the gradient of its own pixel's flow, and reads its
    // own pixel of the flow and the gradient and pixels that are moved into the map.
    unsafe {
        flow_gradient::launch_unchecked(
            &x.client,
            cubes,
            cube,
            buffer(x),
            buffer(flow),
            buffer(grad),
            buffer(&out),
            map,
            pixels,
            mode == WarpMode::BilinearBorder,
        );
    }
    out
}

fn checked([x, flow]: [CubeTensor; 2]) -> [CubeTensor; 2] {
    let [n, h, w, _]: [usize; 4] = x.meta.shape().dims();
    let of_flow: [usize; 4] = flow.meta.shape().dims();
    assert_eq!(of_flow, [n, h, w, 2], "warp: the flow does not fit the map");
    [packed(x), packed(flow)]
}
