//! Reads a feature map at fractional places.

use burn::tensor::{Int, Tensor};

/// A feature map whose pixels (or groups of channels of pixels) are rows of a table.
pub(super) struct Table {
    /// `[batch · height · width · groups, channels of a group]`
    pub(super) rows: Tensor<2>,
    /// Row of the first pixel of the frame that a sample reads, `[samples]`.
    pub(super) frame: Tensor<1, Int>,
    /// Group of channels that a sample reads, `[samples]`.
    pub(super) group: Tensor<1, Int>,
    pub(super) groups: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// What lies outside the map.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Outside {
    Zeros,
    Border,
}

impl Table {
    /// The pixels at whole places `(x, y)`, both `[samples]`; zero where they lie outside.
    pub(super) fn at(&self, x: Tensor<1>, y: Tensor<1>) -> Tensor<2> {
        let (right, bottom) = ((self.width - 1) as f64, (self.height - 1) as f64);
        let inside = x.clone().greater_equal_elem(0.0).float()
            * x.clone().lower_equal_elem(right).float()
            * y.clone().greater_equal_elem(0.0).float()
            * y.clone().lower_equal_elem(bottom).float();
        let column = x.clamp(0.0, right).int();
        let row = y.clamp(0.0, bottom).int();
        let pixel = self.frame.clone() + row * self.width as i64 + column;
        let index = pixel * self.groups as i64 + self.group.clone();
        self.rows.clone().select(0, index) * inside.unsqueeze_dim(1)
    }

    /// The map at `(x, y)`, both `[samples]`, interpolated between its four neighbours.
    pub(super) fn bilinear(&self, x: Tensor<1>, y: Tensor<1>, outside: Outside) -> Tensor<2> {
        let (x, y) = match outside {
            Outside::Zeros => (x, y),
            Outside::Border => {
                (x.clamp(0.0, (self.width - 1) as f64), y.clamp(0.0, (self.height - 1) as f64))
            }
        };
        let (left, top) = (x.clone().detach().floor(), y.clone().detach().floor());
        let (right, bottom) = (left.clone() + 1.0, top.clone() + 1.0);
        let (to_right, to_bottom) = (x - left.clone(), y - top.clone());
        let (to_left, to_top) = (-to_right.clone() + 1.0, -to_bottom.clone() + 1.0);
        let corner = |x: &Tensor<1>, y: &Tensor<1>, weight: Tensor<1>| {
            self.at(x.clone(), y.clone()) * weight.unsqueeze_dim(1)
        };
        corner(&left, &top, to_left.clone() * to_top.clone())
            + corner(&right, &top, to_right.clone() * to_top)
            + corner(&left, &bottom, to_left * to_bottom.clone())
            + corner(&right, &bottom, to_right * to_bottom)
    }
}
