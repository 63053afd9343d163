//! Interpolation between the four neighbours of a place in a map, as
//! [`bilinear`](crate::bilinear) does it for processors.

use cubecl::prelude::*;

/// The pixels around a place: the top left one, and the way from it to the place.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Corners {
    left: i32,
    top: i32,
    to_right: f32,
    to_bottom: f32,
}

/// A pixel of a map, moved into it, and 1 if it lay there already, else 0.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Pixel {
    pub(super) at: usize,
    pub(super) inside: f32,
}

/// The corners around `(x, y)`; all of them outside where the place is far, or not a number.
#[cube]
pub(super) fn around(x: f32, y: f32, height: usize, width: usize) -> Corners {
    let near =
        x >= -1.0f32 && x < f32::cast_from(width) && y >= -1.0f32 && y < f32::cast_from(height);
    let x = select(near, x, -4.0f32);
    let y = select(near, y, -4.0f32);
    let (left, top) = (x.floor(), y.floor());
    Corners {
        left: i32::cast_from(left),
        top: i32::cast_from(top),
        to_right: x - left,
        to_bottom: y - top,
    }
}

/// The pixel at `(column, row)` of a map.
#[cube]
pub(super) fn pixel(column: i32, row: i32, height: usize, width: usize) -> Pixel {
    let (bottom, right) = (i32::cast_from(height) - 1, i32::cast_from(width) - 1);
    let inside = column >= 0 && column <= right && row >= 0 && row <= bottom;
    let at = clamp(row, 0, bottom) * i32::cast_from(width) + clamp(column, 0, right);
    Pixel { at: usize::cast_from(at), inside: select(inside, 1.0f32, 0.0f32) }
}

#[cube]
impl Corners {
    /// Corner `index` of top left, top right, bottom left, bottom right.
    pub(super) fn pixel(&self, #[comptime] index: u32, height: usize, width: usize) -> Pixel {
        let column = self.left + comptime!((index % 2) as i32);
        let row = self.top + comptime!((index / 2) as i32);
        pixel(column, row, height, width)
    }

    /// Whether the place is not far outside the map, and is a number.
    pub(super) fn is_near(&self) -> bool {
        self.left > -4
    }

    /// What the corner contributes to the value.
    pub(super) fn weight(&self, #[comptime] index: u32) -> f32 {
        self.along_x(index) * self.along_y(index)
    }

    /// What the corner contributes to the slopes along x and y.
    pub(super) fn slopes(&self, #[comptime] index: u32) -> (f32, f32) {
        let to_right = comptime!(if index % 2 == 0 { -1.0f32 } else { 1.0f32 });
        let to_bottom = comptime!(if index / 2 == 0 { -1.0f32 } else { 1.0f32 });
        (to_right * self.along_y(index), to_bottom * self.along_x(index))
    }

    fn along_x(&self, #[comptime] index: u32) -> f32 {
        if comptime!(index % 2 == 0) { 1.0f32 - self.to_right } else { self.to_right }
    }

    fn along_y(&self, #[comptime] index: u32) -> f32 {
        if comptime!(index / 2 == 0) { 1.0f32 - self.to_bottom } else { self.to_bottom }
    }
}
