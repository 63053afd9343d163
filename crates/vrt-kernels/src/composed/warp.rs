//! Warping along a flow, composed.

use burn::tensor::{Int, Tensor};

use super::sample::{Outside, Table};
use crate::warp::WarpMode;

/// As [`ops::warp`](crate::ops::warp).
pub fn warp(x: Tensor<4>, flow: Tensor<4>, mode: WarpMode) -> Tensor<4> {
    let [n, h, w, c] = x.dims();
    let device = x.device();
    let flow = flow.reshape([n * h * w, 2]);
    let pixel = Tensor::<1, Int>::arange(0..(n * h * w) as i64, &device);
    let column = pixel.clone().remainder_scalar(w as i64).float();
    let row = (pixel.clone() / w as i64).remainder_scalar(h as i64).float();
    let place = |axis: usize, base: Tensor<1>| {
        flow.clone().slice([0..n * h * w, axis..axis + 1]).reshape([n * h * w]) + base
    };
    let (x_at, y_at) = (place(0, column), place(1, row));
    let table = Table {
        rows: x.reshape([n * h * w, c]),
        frame: pixel.clone() / (h * w) as i64 * (h * w) as i64,
        group: Tensor::zeros([n * h * w], &device),
        groups: 1,
        height: h,
        width: w,
    };
    let samples = match mode {
        WarpMode::BilinearZeros => table.bilinear(x_at, y_at, Outside::Zeros),
        WarpMode::BilinearBorder => table.bilinear(x_at, y_at, Outside::Border),
        WarpMode::Nearest4 => {
            let (x_at, y_at) = (x_at.detach(), y_at.detach());
            let (left, right) = (x_at.clone().floor(), x_at.ceil());
            let (top, bottom) = (y_at.clone().floor(), y_at.ceil());
            Tensor::cat(
                vec![
                    table.at(left.clone(), top.clone()),
                    table.at(left, bottom.clone()),
                    table.at(right.clone(), top),
                    table.at(right, bottom),
                ],
                1,
            )
        }
    };
    let [_, channels] = samples.dims();
    samples.reshape([n, h, w, channels])
}
